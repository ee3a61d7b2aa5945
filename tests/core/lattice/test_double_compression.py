"""Aligned double compression: the coarser primary table is found, and only where there is one."""

import numpy as np
import pytest
from pictures import ORIGINALS, compress, load_original

from q1net_core.arrays import UInt8Array
from q1net_core.lattice.blocks import Coefficients, choose_blocks
from q1net_core.lattice.dictionary import KnownTable, known_tables
from q1net_core.lattice.double_compression import LARGEST_MULTIPLE, count_multiples, find_primary_table, normal_cdf
from q1net_core.lattice.estimate import estimate_lattice
from q1net_core.lattice.grid import find_grid

BUSY = "messenger/houses.jpg"
# Full size: under a fine last compression much of the evidence is of rare coefficients.
SOURCES = ("camera/airplane.png", BUSY)


def libjpeg(level: int) -> KnownTable:
    return known_tables()[level - 1]


def busy_blocks(pixels: UInt8Array) -> list[Coefficients]:
    return choose_blocks(pixels, find_grid(pixels))


def twice(name: str, first: int, last: int) -> UInt8Array:
    return compress(compress(load_original(name), first), last)


@pytest.mark.parametrize(("first", "last"), [(40, 95), (60, 80), (30, 50), (50, 90), (70, 80)])
@pytest.mark.parametrize("name", SOURCES)
def test_the_coarser_first_compression_is_the_answer(name: str, first: int, last: int) -> None:
    estimate = estimate_lattice(twice(name, first, last))
    assert (estimate.quality, estimate.last_quality) == (first, last)
    assert (estimate.match, estimate.level, estimate.ties, estimate.grid) == ("exact", first, (), (0, 0))
    assert estimate.steps == libjpeg(first).steps


@pytest.mark.parametrize(("first", "last"), [(80, 60), (95, 40), (75, 75)])
@pytest.mark.parametrize("name", SOURCES)
def test_a_finer_first_compression_leaves_nothing_to_see(name: str, first: int, last: int) -> None:
    estimate = estimate_lattice(twice(name, first, last))
    assert (estimate.quality, estimate.last_quality) == (last, last)


@pytest.mark.parametrize("level", [2, 4, 7, 10, 25, 50, 75, 90, 98])
@pytest.mark.parametrize("name", ORIGINALS)
def test_one_compression_has_none_before_it(name: str, level: int) -> None:
    groups = busy_blocks(compress(load_original(name), level))
    assert find_primary_table(groups, libjpeg(level)) is None


def test_a_first_compression_on_another_grid_is_no_lattice_of_this_one() -> None:
    shifted = compress(compress(load_original(BUSY), 40)[3:, 5:], 90)
    estimate = estimate_lattice(shifted)
    assert (estimate.quality, estimate.last_quality, estimate.grid) == (90, 90, (0, 0))


def test_a_table_coarser_than_all_others_has_none_before_it() -> None:
    groups = busy_blocks(compress(load_original(BUSY), 1))
    assert find_primary_table(groups, libjpeg(1)) is None


def test_multiples_are_counted_by_row_without_zeros_and_without_what_lies_beyond() -> None:
    counts = count_multiples(np.array([[0.0, 1, 1, 3], [2, LARGEST_MULTIPLE, LARGEST_MULTIPLE + 1, 1e6]]))
    assert counts.shape == (2, LARGEST_MULTIPLE)
    assert counts[0, :4].tolist() == [2, 0, 1, 0]
    assert (counts[1, 1], counts[1, -1], counts.sum()) == (1, 1, 5)


def test_the_curve_is_a_distribution_function_near_the_normal_one() -> None:
    z = np.linspace(-4, 4, 81)
    values = normal_cdf(z)
    assert (np.diff(values) > 0).all()
    assert np.allclose(values + normal_cdf(-z), 1)
    # Of the normal distribution at 1 and 2.
    assert values[[50, 60]] == pytest.approx([0.8413, 0.9772], abs=0.01)
    assert normal_cdf(np.array([-1e9, 1e9])).tolist() == pytest.approx([0, 1])
