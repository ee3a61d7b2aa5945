"""The doctor's report and exit status, on a machine that is fine and on ones that are not."""

import re
import subprocess
import sys

import pytest
from servers import free_port

from pipelines.cli import main
from pipelines.doctor import command
from pipelines.doctor.finding import Level, fail, ok, warn

CHECKS = ["python", "packages", "weights", "engine", "hints", "accelerator", "storage", "clock", "disk"]


def examine(*argv: str) -> dict[str, tuple[Level, str]]:
    """Check -> worst level and all text."""
    found: dict[str, tuple[Level, str]] = {}
    for finding in command.examine([*argv]):
        level, text = found.get(finding.check, (Level.OK, ""))
        worst = max(level, finding.level, key=list(Level).index)
        found[finding.check] = worst, f"{text}{finding}\n"
    return found


def test_a_machine_that_is_fine(gcs_server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", f"--storage={gcs_server}/runs", "--accelerator=t4", "--workers=2"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "a run can start"
    assert list(dict.fromkeys(line[6:18].strip() for line in lines)) == CHECKS
    report = "\n".join(lines)
    assert "engine       FnApiRunner on this machine, 2 threads" in report
    assert (
        "accelerator=type:nvidia-tesla-t4;count:1;machine_type:n1-standard-4;install-nvidia-driver; min_ram=12GB"
        in report
    )
    assert re.search(r"Keras on (tensorflow|jax) sees ", report)
    assert f"storage      {gcs_server}/runs: written, listed, read and deleted in " in report
    assert "clock        this clock is " in report


def test_a_bucket_that_is_not_there(gcs_server: str) -> None:
    level, text = examine("--storage=gs://q1net-nowhere/runs")["storage"]
    assert level is Level.FAIL
    assert "cannot write to gs://q1net-nowhere/runs: " in text
    assert "grant this process rights" in text


def test_all_that_is_wrong_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    image = "eu.gcr.io/p/worker:9.9.9-beam2.1-py3.8"
    flags = ["--runner=PortableRunner", f"--job_endpoint=127.0.0.1:{port}", f"--sdk_container_image={image}"]
    flags += ["--inference-ram=lots", "--storage=/dev/null/runs"]
    assert command.run(flags) == 2
    printed = capsys.readouterr().out
    assert f"fail  engine       no job service answers at 127.0.0.1:{port}: " in printed
    assert (
        f"fail  image        {image}: q1net 9.9.9 there, 0.1.0 here, beam 2.1 there, 2.77.0 here, python 3.8" in printed
    )
    assert "fail  hints        inference_ram is 'lots'; expected a size with its unit, such as 12GB" in printed
    assert "fail  storage      cannot write to /dev/null/runs: " in printed
    assert printed.endswith("a run cannot start: 4 to mend\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--runner=DaskRunner"], "--runner is DaskRunner, which is refused"),
        (["--runner=DataflowRunner", "--project=project"], "--region is None; expected a region"),
        (["--runner=PortableRunner", "--job_endpoint=here"], "--job_endpoint is here; expected HOST:PORT"),
        (["--sise=3"], "unknown flags or values: --sise=3"),
    ],
)
def test_an_engine_that_could_not_run(flags: list[str], message: str) -> None:
    level, text = examine(*flags)["engine"]
    assert (level, message in text) == (Level.FAIL, True)


def test_warnings_alone_do_not_keep_a_run_from_starting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "examine", lambda _: [ok("a", "fine"), warn("b", "odd", "look")])
    assert command.run([]) == 0
    monkeypatch.setattr(command, "examine", lambda _: [warn("b", "odd", "look"), fail("c", "broken", "mend it")])
    assert command.run([]) == 2
    assert "warn  b            odd; look\nfail  c            broken; mend it\na run cannot start: 1 to mend\n" in (
        capsys.readouterr().out
    )


def test_the_console_prints_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "doctor"], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all(re.match(r"(ok|warn)  ", line) for line in done.stdout.splitlines()[:-1])
