"""A plan: all images are counted, some are tried, hours and prices follow, and nothing is written."""

from collections import Counter
from pathlib import Path

import pytest

from pipelines.audit.plan import SAMPLED, Plan, line_of, make_plan, render_plan
from pipelines.audit.prices import MACHINES, Machines
from pipelines.cli import main
from pipelines.transforms import READS_AT_A_TIME
from q1net_core.records import ListedImage
from q1net_core.settings import EstimatorSettings

PHOTOGRAPHS = Path(__file__).parents[2] / "photographs"


def test_the_command_prints_a_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "empty.jpg").touch()
    arguments = [str(PHOTOGRAPHS), str(tmp_path / "images"), "--patches", "16", "--output", str(tmp_path / "out")]
    assert main(["audit", *arguments, "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    size = sum(path.stat().st_size for path in PHOTOGRAPHS.glob("*/*.*g")) / 1e9
    assert lines[0] == f"13 images, {size:,.3f} GB; 13 of them tried: empty 1 (8 %), ok 12 (92 %)"
    assert [line.split(",")[0] for line in lines[5:-2]] == ["this machine"] + ["Dataflow"] * len(MACHINES)
    assert not (tmp_path / "out").exists()


def test_all_images_are_counted_and_few_are_tried() -> None:
    images = [ListedImage(f"memory://gone/{number}.jpg", 10 if number % 2 else None) for number in range(500)]
    plan = make_plan(iter(images), EstimatorSettings(estimators=("lattice",)), {})
    assert (plan.images, plan.sized, plan.bytes) == (500, 250, 2500)
    assert plan.statuses == {"missing": SAMPLED}
    assert "0.000 GB in 250 of known size" in render_plan(plan)


def test_hours_and_dollars_follow_from_the_time_of_an_image() -> None:
    plan = Plan(images=36_000, statuses=Counter(ok=10), read=1.0, sample=0.6, predict=0.4)
    assert plan.seconds == pytest.approx(0.1)
    machines = Machines("shape", 5, 2, 8)
    assert machines.hour == pytest.approx(5 * (2 * 0.056 + 8 * 0.003557))
    assert line_of("x", plan, 10, (2.5, 0.25)) == ("x", "100.0", "0.10", "0.50")
    assert line_of("x", plan, 1, None) == ("x", "10.0", "1.00", "-")


def test_a_slow_store_is_what_takes_the_time() -> None:
    plan = Plan(images=10, statuses=Counter(ok=10), read=80.0 * READS_AT_A_TIME, sample=0.6, predict=0.4)
    assert plan.seconds == pytest.approx(8.0)
