"""What stores and libraries print stays off the screen, unless --verbose; one line says what failed and where."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from emulators import through_faults
from faulty_proxy import Faults

from pipelines.runtime.quiet import describe_failure


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as users start it."""
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=os.environ)


@pytest.mark.parametrize(("server", "bucket"), [("gcs_server", "gs://q1net-test"), ("s3_server", "s3://q1net-test")])
def test_a_store_that_refuses_is_told_in_one_line(
    server: str, bucket: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(server)
    arguments = ("audit", f"{bucket}/photos/", "--output", str(tmp_path), "--estimators=lattice")
    # Of these gcsfs logs tracebacks.
    with through_faults(server, Faults(unavailable=1, status=401 if server == "gcs_server" else 403)):
        quiet, loud = run(*arguments), run(*arguments, "--verbose")
    assert (quiet.returncode, quiet.stdout) == (2, "")
    (line,) = quiet.stderr.splitlines()
    assert line.startswith(f"q1net audit: cannot list {bucket}/photos/: ")
    assert "check the path, its permissions and the credentials" in line
    assert loud.returncode == 2
    assert loud.stderr.endswith(quiet.stderr)
    if server == "gcs_server":
        assert "Traceback" in loud.stderr


UNFORESEEN = """
import sys, types
from pipelines import cli
sys.modules["broken"] = types.SimpleNamespace(run=lambda argv: 1 / 0)
cli.COMMANDS["predict"] = ("broken", "")
cli.command()
"""


def test_what_nobody_foresaw_is_told_in_one_line_too() -> None:
    command = [sys.executable, "-c", UNFORESEEN, "predict", "x.jpg"]
    quiet, loud = (
        subprocess.run([*command, *flags], capture_output=True, text=True, timeout=100, check=False)
        for flags in ([], ["--verbose"])
    )
    assert quiet.returncode == loud.returncode == 1
    assert quiet.stderr == "q1net: division by zero; --verbose shows where\n"
    assert "Traceback" in loud.stderr


def test_no_notice_of_tensorflow_comes_before_a_mistake_in_train(tmp_path: Path) -> None:
    done = run("train", "--shards", f"{tmp_path}/none", "--output", f"{tmp_path}/out")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("q1net train: shards are ")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("", "RuntimeError"),
        ("run x has 1 rows for 2 inputs [while running 'Commit-ptransform-3']", None),
        (
            "Traceback (most recent call last):\n  File x, line 3\nOSError: disk full\n\n[while running 'Write']\n",
            "OSError: disk full",
        ),
    ],
)
def test_an_engine_puts_tracebacks_into_messages(message: str, told: str | None) -> None:
    assert describe_failure(RuntimeError(message)) == (told or message)
