"""Fixtures that more than one test module uses; hypothesis profiles; the end of the process."""

import atexit
from pathlib import Path

import pytest
from emulators import gcs_server, pytest_configure, s3_server
from hypothesis import HealthCheck, settings

from pipelines.runtime.quiet import end_process

__all__ = ["gcs_server", "pytest_configure", "s3_server", "weights_uri"]

# Examples of each property, by --hypothesis-profile. Every profile draws the same ones on every machine, and none
# judges by the clock: what fails anywhere fails everywhere.
for profile, examples in {"dev": 20, "ci": 50, "all": 500}.items():
    settings.register_profile(
        profile, max_examples=examples, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile("dev")


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
    """End the process as the command does, and for its reason, with pytest's own status.

    A worker process of a parallel run has more to tell the main one first: it ends so once it has told it.
    """
    if hasattr(config, "workerinput"):
        atexit.register(end_process, 0)
    elif EXIT_STATUS in config.stash:
        end_process(config.stash[EXIT_STATUS])
