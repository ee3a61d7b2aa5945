"""Behind a proxy that swallows connections, the default engine starts at once: it asks the proxy for nothing."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import PHOTOGRAPHS

SCHEMES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


@pytest.mark.parametrize("flags", [[], ["--runner=DirectRunner"]], ids=["default", "DirectRunner"])
def test_nothing_is_downloaded_to_run_an_audit(flags: list[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as firewall:
        firewall.settimeout(0.01)
        proxy = f"http://127.0.0.1:{firewall.getsockname()[1]}"
        command = [sys.executable, "-m", "pipelines.cli", "audit", str(PHOTOGRAPHS / "camera" / "hats.jpg")]
        done = subprocess.run(
            [*command, f"--output={tmp_path}", "--estimators=lattice", "--workers=2", *flags],
            env=os.environ | dict.fromkeys(SCHEMES, proxy) | {"no_proxy": "", "NO_PROXY": ""},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        with pytest.raises(TimeoutError):
            firewall.accept()
    assert done.stderr.startswith("engine: FnApiRunner on this machine, 2 threads\n")
