"""The corpus of all engines, and its rows by a plain loop."""

import os
from pathlib import Path

import pytest
from comparisons import write_originals
from corpus import write_corpus
from rows import Row, plain_rows

# The folder of Flink's jars, which `make test-flink` fills and sets.
FLINK = os.environ.get("Q1NET_FLINK")
collect_ignore = [] if FLINK else ["test_flink.py"]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def expected(corpus: Path) -> list[Row]:
    return plain_rows(corpus)


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_originals(tmp_path_factory.mktemp("originals"))
