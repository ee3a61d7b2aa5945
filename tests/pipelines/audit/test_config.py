"""The flags of the audit: mistakes stop it before any work, and what is Beam's goes to Beam."""

import re
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions

from pipelines.audit.config import parse
from pipelines.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{images}/gone/*.jpg"], r"no image matches '.*/gone/\*\.jpg'; expected a file, a folder"),
        (["{images}", "{images}/*.webp"], r"no image matches '.*/\*\.webp'"),
        (["nosuch://bucket/x"], "nosuch://bucket/x"),
        (["{images}", "--manifest", "{images}/m.csv"], "either INPUT... or --manifest; expected exactly one"),
        ([], "either INPUT... or --manifest; expected exactly one"),
        (["--manifest", "{images}/gone.csv"], "gone.csv cannot be read"),
        (["--manifest", "{images}/a.jpg"], r"expected a name ending in .*\.csv"),
        (["{images}", "--patches", "7"], "patches per image is 7; expected a square number from 16"),
        (["{images}", "--estimators", "lattice,exif"], "estimators are lattice, exif; expected some of lattice, q1net"),
        (["{images}", "--estimators", "lattice", "--cascade"], "cascade needs both estimators, lattice and q1net"),
        (["{images}", "--threshold", "100"], "confidence threshold is 100.0; expected 0 <= threshold < 100"),
        (["{images}", "--max-bytes", "0"], "max_bytes is 0, expected an integer of at least 1"),
        (["{images}", "--max-pixels", "-1"], "max_pixels is -1, expected"),
        (["{images}", "--group", "("], r"--group is '\(', not a regular expression"),
        (["{images}", "--group", "x"], "--group is 'x'; expected a capture"),
        (["{images}", "--partition-by-group"], "--partition-by-group needs groups"),
        (["{images}", "--fail-on", "bad,stripped"], "--fail-on has bad; expected some of single, recompressed"),
        (["{images}", "--group-column", "site"], "--group-column is 'site'; it needs --manifest"),
        (["--manifest", "m.csv", "--group", "(x)", "--group-column", "site"], "either --group or --group-column"),
        (["{images}", "--treshold", "50"], "unknown flags or values: --treshold 50; see q1net audit --help"),
        (["{images}", "--group-col=x"], "unknown flags or values: --group-col=x; see"),
        (["{images}", "--weights", "q1net-k999"], r"weights are 'q1net-k999'; expected the URI of a \.keras file"),
        (["{images}", "--weights", "{images}/gone.keras"], r"gone\.keras cannot be used: nothing at"),
    ],
)
def test_mistakes_stop_the_command_before_any_work(
    arguments: list[str],
    message: str,
    small_folder: Path,
    weights_uri: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    given = [argument.format(images=small_folder) for argument in arguments]
    defaults = ["--output", str(output)] + ([] if "--weights" in given else ["--weights", weights_uri])
    assert main(["audit", *given, *defaults]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("q1net audit: ")
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert re.search(message, printed.err), printed.err
    assert not output.exists()


def test_the_output_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["audit", "photos"])
    assert caught.value.code == 2
    assert "--output" in capsys.readouterr().err


def test_flags_of_beam_go_to_beam_with_their_values() -> None:
    config, options = parse(["a", "--project", "my-project", "b", "--output", "o", "--runner=PortableRunner"])
    assert (config.inputs, config.output) == (("a", "b"), "o")
    assert options.view_as(StandardOptions).runner == "PortableRunner"
    assert options.view_as(GoogleCloudOptions).project == "my-project"
