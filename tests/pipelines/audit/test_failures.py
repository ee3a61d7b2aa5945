"""Images without estimates: the first are named, and too many of them make a failed run that keeps its rows."""

from pathlib import Path

import pytest
from pictures import PHOTOGRAPHS

from pipelines.audit.run import open_run, read_run
from pipelines.cli import main
from pipelines.files import read_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One image that works, and five that are empty or none."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes((PHOTOGRAPHS / "camera" / "hats.jpg").read_bytes())
    for number in range(4):
        (photos / f"{number}.jpg").touch()
    (photos / "page.jpg").write_bytes(b"<html>")
    return photos


@pytest.mark.parametrize(
    ("limit", "failed"), [(None, False), ("1", False), ("0.84", False), ("0.8", True), ("0", True)]
)
def test_too_many_failures_fail_the_run_but_keep_its_rows(
    limit: str | None, failed: bool, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--estimators=lattice", "--no-report", "--output", f"{tmp_path}/runs"]
    flags = [] if limit is None else [f"--max-failure-ratio={limit}"]
    assert main(["audit", str(folder), *arguments, *flags]) == int(failed)
    (run,) = (tmp_path / "runs").glob("run_id=*")
    assert len(read_run(str(run))) == 6
    out, err = capsys.readouterr()
    reason = f"5 of 6 images have no estimate, a share of 0.833; expected at most {limit} (--max-failure-ratio)"
    assert open_run(str(run))["failed"] == (reason if failed else None)
    assert (f"the run failed, its rows are kept: {reason}" in err) == failed
    errors = read_json(f"{run}/summary.json")["errors"]
    assert {status: [Path(error["uri"]).name for error in found] for status, found in errors.items()} == {
        "empty": ["0.jpg", "1.jpg", "2.jpg"],
        "unsupported": ["page.jpg"],
    }
    assert f"empty: {folder}/2.jpg: " in out
    assert "empty: and 1 more\n" in out
    assert "unsupported: and" not in out


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan"])
def test_shares_are_from_0_to_1(share: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(folder), f"--max-failure-ratio={share}", "--output", f"{tmp_path}/runs"]) == 2
    assert f"--max-failure-ratio is {share}; expected a share from 0 to 1" in capsys.readouterr().err
