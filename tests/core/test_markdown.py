"""Markdown tables keep their cells as they are."""

import doctest

from q1net_core import markdown
from q1net_core.markdown import to_markdown


def test_cells_are_not_taken_for_numbers() -> None:
    rows = [("1e5", "0.10", "-"), ("007", "1,000", "")]
    _, rule, *lines = to_markdown(("a", "b", "c"), rows).splitlines()
    assert [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in lines] == rows
    assert set(rule) == {"|", "-"}


def test_a_table_without_rows_has_its_header() -> None:
    assert [line.count("|") for line in to_markdown(("a", "b"), []).splitlines()] == [3, 3]


def test_the_example_is_true() -> None:
    assert doctest.testmod(markdown).attempted == 1
    assert doctest.testmod(markdown).failed == 0
