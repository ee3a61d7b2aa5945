"""Fixtures that more than one test module uses."""

import os
import sys
from pathlib import Path

import pytest
from emulators import gcs_server, pytest_configure, s3_server

__all__ = ["gcs_server", "pytest_configure", "s3_server", "weights_uri"]


@pytest.fixture(scope="session")
def weights_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Untrained weights whose answers differ from patch to patch; the threshold of 60 leaves some of them out."""
    import keras

    from q1net_core.network.variants import VARIANTS
    from q1net_core.network.weights import Card, write_weights

    variant = "q1net-no-bottleneck"
    keras.utils.set_random_seed(7)
    model = VARIANTS[variant].architecture.build()
    model.set_weights([array * 1.5 if array.ndim > 1 else array for array in model.get_weights()])
    uri: Path = tmp_path_factory.mktemp("weights") / "untrained.keras"
    write_weights(model, str(uri), Card(variant, fusions={"paper": {"threshold": 60, "calibration": []}}))
    return str(uri)


EXIT_STATUS = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[EXIT_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End the process as the command does, and for its reason (pipelines.cli.command), with pytest's own status."""
    if EXIT_STATUS in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[EXIT_STATUS])
