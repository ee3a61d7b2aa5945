"""The examples in docstrings of the core give what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "q1net_core").rglob("*.py"))
    if ">>> " in path.read_text()
]


def test_index_maths_has_examples() -> None:
    assert {"q1net_core.patches", "q1net_core.codecs.tiles"} <= set(EXAMPLES)


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_are_true(module: str) -> None:
    results = doctest.testmod(import_module(module))
    assert results.attempted > 0
    assert results.failed == 0
