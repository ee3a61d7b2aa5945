"""Seeded fuzz: whatever happens to a file, it becomes a record, soon, in little memory, and never a crash."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mutants import MEBIBYTES, make_mutant, mend_checksums, originals

MUTANTS = Path(__file__).parents[2] / "support" / "mutants.py"


@pytest.mark.parametrize(
    ("first", "count"), [(0, 400), *(pytest.param(n, 2_500, marks=pytest.mark.slow) for n in range(400, 10_400, 2_500))]
)
def test_mutants_become_records(first: int, count: int) -> None:
    command = [sys.executable, str(MUTANTS), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["statuses"].keys() == {"JPEG", "PNG", "WEBP"}
    assert sum(sum(statuses.values()) for statuses in told["statuses"].values()) == count
    for statuses in told["statuses"].values():
        # The damage is neither so great that nothing is decoded nor so small that all is; PNG checks itself.
        assert statuses["ok"] > sum(statuses.values()) / 100
        assert statuses["corrupt"] > sum(statuses.values()) / 5
    assert told["peak_mebibytes"] < MEBIBYTES


def test_mutants_are_many_and_always_the_same() -> None:
    mutants = [make_mutant(number) for number in range(300)]
    assert mutants == [make_mutant(number) for number in range(300)]
    assert len(set(mutants)) > 290
    assert sum(mutant in originals() for mutant in mutants) < 15


def test_checksums_are_mended() -> None:
    png = next(file for file in originals() if file[1:4] == b"PNG")
    assert mend_checksums(png) == png
    spoilt = png[:29] + b"xxxx" + png[33:]
    assert mend_checksums(spoilt) == png
    assert mend_checksums(originals()[0]) == originals()[0]
