"""What `q1net shards` and `q1net evaluate` make of the same photographs on this machine and on another engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pictures import ORIGINALS, load_original
from PIL import Image
from rows import FLOATS_WITHIN

from pipelines.cli import main
from pipelines.files import read_json

LEVELS = "--levels=10,50,90"


def write_originals(folder: Path) -> Path:
    """Pieces of photographs without trace of compression, as PNG."""
    for number, name in enumerate(ORIGINALS):
        Image.fromarray(load_original(name)[:160, :192]).save(folder / f"{number}.png")
    return folder


def check_shards(flags: Sequence[str], originals: Path, output: Path) -> None:
    """Fail unless the shards are the same bytes."""
    made = {}
    for name, engine in {"local": ["--workers=1"], "remote": flags}.items():
        command = ["shards", f"--images={originals}", f"--output={output / name}", LEVELS, "--rows-per-shard=300"]
        assert main([*command, *engine]) == 0
        made[name] = read_json(str(output / name / "dataset.json"))["files"]
    assert made["remote"] == made["local"]
    assert len(made["remote"]) > 1


def check_evaluations(flags: Sequence[str], originals: Path, output: Path) -> None:
    """Fail unless all figures are the same, but for rounding."""
    made = {}
    for name, engine in {"local": ["--workers=1"], "remote": flags}.items():
        command = ["evaluate", f"--images={originals}", f"--output={output / name}", LEVELS, "--estimator=lattice"]
        assert main([*command, *engine]) == 0
        made[name] = read_json(str(output / name / "metrics.json"))
        made[name].pop("arguments")
    check_close(made["remote"], made["local"])


def check_close(found: Any, wanted: Any) -> None:
    """Fail unless two JSON values are the same, floats nearly."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            check_close(found[key], wanted[key])
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            check_close(one, other)
    else:
        assert found == (pytest.approx(wanted, abs=FLOATS_WITHIN) if isinstance(wanted, float) else wanted)
