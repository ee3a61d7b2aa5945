"""Folders of images, and audits of them, that more than one module uses."""

from pathlib import Path

import pytest
from audits import configure
from odd_files import encode, photograph, write_odd_files
from pictures import PHOTOGRAPHS

from pipelines.audit.config import AuditConfig
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_odd_files(tmp_path_factory.mktemp("odd"))


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    """Three images that work and one that does not."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, quality in (("a.jpg", 30), ("b.jpg", 60), ("c.jpg", 90)):
        (folder / name).write_bytes(encode(photograph(), quality=quality))
    (folder / "d.jpg").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def audited(weights_uri: str, odd_folder: Path) -> AuditConfig:
    group = r"/(camera|messenger)/"
    return configure("", PHOTOGRAPHS, odd_folder, weights=weights_uri, group=group, max_bytes=700_000)


@pytest.fixture(scope="module")
def model(weights_uri: str) -> Predictor:
    return Predictor(read_weights(weights_uri))
