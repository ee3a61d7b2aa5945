"""The command refuses mistakes before any work, takes the study's own defaults, and writes to any store."""

import argparse
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.evaluation.command import parse
from pipelines.runtime.options import parse_levels
from q1net_core import storage
from q1net_core.errors import ConfigError
from q1net_core.network.variants import VARIANTS
from q1net_core.network.weights import packaged_variants


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--levels", "0-5"], r"levels are \[0, 1, 2, 3, 4, 5\]; expected some of 1\.\.100"),
        (["--patches", "7"], "patches per image is 7"),
        (["--threshold", "100"], "confidence threshold is 100"),
        (["--weights", "nonsense"], "variants are .*/untrained.keras, nonsense; expected one, or --study table2"),
        (["--weights", "nonsense", "--study", "table2"], "weights are 'nonsense'"),
        (["--study", "table4", "--patches", "64"], "patches per image is 64; table4 takes .16, 64, 144"),
        (["--study", "photoshop", "--levels", "12-13"], r"levels are \[12, 13\]; expected some of 0\.\.12"),
        (["--estimator", "lattice"], "variants are .*untrained.keras, fusion None, .*; the lattice has no such thing"),
        (["--estimator", "combined", "--study", "table4"], "estimator is combined; table4 is about Q1Net"),
        (["--estimator", "lattice", "--study", "table2"], "estimator is lattice; table2 is about Q1Net"),
        (["--conditions", "full"], "conditions are full; expected --study stress with some of full, full-random"),
        (["--study", "stress", "--estimator", "q1net", "--conditions", "a,b"], "conditions are a, b; expected --study"),
        (["--images", "/nonexistent/*.png"], r"no image matches '/nonexistent/\*\.png'"),
    ],
)
def test_mistakes_stop_the_command_before_any_work(
    arguments: list[str],
    message: str,
    lossless: Path,
    weights_uri: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    defaults = ["--images", str(lossless), "--output", f"{tmp_path}/out", "--weights", weights_uri]
    assert main(["evaluate", *defaults, *arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("q1net evaluate: ")
    with pytest.raises(ConfigError, match=message):
        raise ConfigError(printed)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("value", "levels"),
    [
        ("7", (7,)),
        ("1-4", (1, 2, 3, 4)),
        ("10-30:10", (10, 20, 30)),
        ("10-29:10", (10, 20)),
        ("10,50,90-91", (10, 50, 90, 91)),
        ("1-100", tuple(range(1, 101))),
        ("3,1-4,2", (3, 1, 2, 4)),
    ],
)
def test_levels_are_ranges_steps_and_lists_each_level_once(value: str, levels: tuple[int, ...]) -> None:
    assert parse_levels(value) == levels


@pytest.mark.parametrize("value", ["", "x", "1-", "1-5:0", "-5", "1,,2", "1.5"])
def test_levels_that_make_no_sense_are_named(value: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected levels such as") as caught:
        parse_levels(value)
    assert repr(value) in str(caught.value)


def test_table_2_takes_all_packaged_variants_by_default() -> None:
    config, _ = parse(["--images", "a", "--output", "b", "--study", "table2"])
    assert config.weights == tuple(name for name in packaged_variants() if VARIANTS[name].codec == "jpeg")
    assert {"q1net-k8", "q1net-k8-robust"} <= set(config.weights)
    video, _ = parse(["--images", "a", "--output", "b", "--codec", "h264"])
    assert video.weights == ("q1net-h264",)
    assert parse(["--images", "a", "--output", "b"])[0].weights == ("q1net-k8",)
    stressed, _ = parse(["--images", "a", "--output", "b", "--study", "stress"])
    assert (stressed.weights, stressed.estimator, stressed.levels) == ((), "lattice", tuple(range(5, 101, 5)))
    assert parse(["--images", "a", "--output", "b", "--estimator", "combined"])[0].weights == ("q1net-k8-robust",)


def test_results_go_to_any_store(lossless: Path, weights_uri: str) -> None:
    memory = "memory://evaluation/out"
    main(["evaluate", "--images", str(lossless), "--output", memory, "--weights", weights_uri, "--levels", "50"])
    assert storage.read_bytes(f"{memory}/table.md", 10_000)
    assert storage.read_bytes(f"{memory}/confusion.png", 1_000_000)[:4] == b"\x89PNG"
