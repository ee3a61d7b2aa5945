"""The lattice's study: answers against the truth, thresholds that move one at a time, and tables of the answers."""

from pathlib import Path

import pytest
from pictures import load_original
from PIL import Image

from q1net_core.lattice import known
from q1net_core.records import LatticeEstimate
from training.studies.lattice import FACTORS, THRESHOLDS, judge, moved, run
from training.studies.lattice_cases import Case

PICTURE = load_original("camera/airplane.png")[:256, :256]


@pytest.fixture
def images(tmp_path: Path) -> str:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    return str(tmp_path)


def rows_of(printed: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]


def test_an_answer_is_exact_or_tied_or_wrong() -> None:
    case = Case("", PICTURE, "exact", 50)
    answers = {
        (True, True, False): LatticeEstimate(50.0, match="exact", level=50),
        (True, False, False): LatticeEstimate(49.0, match="exact", level=49, ties=(50,)),
        (True, False, True): LatticeEstimate(50.0, match="photoshop", level=5),
        (False, False, False): LatticeEstimate(),
    }
    for expected, found in answers.items():
        outcome = judge(case, found)
        assert (outcome.accepted, outcome.exact, outcome.wrong) == expected
    nothing = judge(Case("", PICTURE), LatticeEstimate(50.0, match="exact", level=50))
    assert (nothing.accepted, nothing.exact, nothing.wrong) == (True, False, True)


@pytest.mark.parametrize(("module", "name"), THRESHOLDS, ids=lambda value: getattr(value, "__name__", value))
def test_a_threshold_moves_and_comes_back(module: object, name: str) -> None:
    before = getattr(module, name)
    with moved(module, name, 2) as value:
        assert getattr(module, name) == value == 2 * before
    assert getattr(module, name) == before
    with moved(module, name, 0.5) as value:
        assert type(value) is type(before)
        assert 0 < value <= before


def test_a_threshold_that_moves_changes_answers(images: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--images", images, "--thresholds", "known.MIN_EVIDENCE"]) == 0
    header, _, *rows = rows_of(capsys.readouterr().out)
    assert header[:3] == ["threshold", "factor", "value"]
    assert [float(row[1]) for row in rows] == list(FACTORS)
    assert [float(row[2]) for row in rows] == pytest.approx([known.MIN_EVIDENCE * factor for factor in FACTORS])
    exact = [float(row[5]) for row in rows]
    assert exact[0] >= exact[2] > exact[-1]
    for row in rows:
        assert float(row[4]) + float(row[7]) == pytest.approx(100, abs=0.02)


def test_crops_are_counted_by_size_and_content(images: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--images", images, "--crops", "--rounds", "2"]) == 0
    _, _, *rows = rows_of(capsys.readouterr().out)
    counts = {row[0]: int(row[1]) for row in rows}
    assert set(counts) == {"all decodes"} | {
        f"{size} pixels, {kind}" for size in (256, 128, 64) for kind in ("plain", "any", "no lattice")
    }
    assert counts["all decodes"] == sum(count for name, count in counts.items() if name.endswith((", plain", ", any")))


def test_unknown_thresholds_and_missing_images_are_named(images: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--images", images, "--thresholds", "known.MAX"]) == 2
    assert "thresholds known.MAX do not exist" in capsys.readouterr().err
    assert run(["--images", f"{images}/none"]) == 2
    assert "no image matches" in capsys.readouterr().err
