"""`q1net report` on a real run."""

from pathlib import Path

import pytest

from pipelines.audit import command as audit
from pipelines.audit.report import command as report

PHOTOGRAPHS = Path(__file__).parents[3] / "photographs" / "messenger"


def test_report_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(PHOTOGRAPHS), "--output", str(tmp_path / "runs"), "--patches", "16", "--group", "/([a-z]+)[.]"]
    assert audit.run(arguments) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert report.run([str(run), "--output", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img ") >= 6
    assert "recompressed" in page
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {tmp_path / 'report.html'}"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.run([str(tmp_path), "--output", str(tmp_path / "report.html")]) == 2
    assert "is not a committed run" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
