import numpy as np
import pytest
from boosted import make_tables
from hypothesis import given
from hypothesis import strategies as st

from q1net_core.boost.indices import (
    CLASSES,
    CONTEXTS,
    SCALE,
    Tables,
    decode_indices,
    encode_indices,
    measure_bits,
    rate_class,
)
from q1net_core.errors import ImageError
from q1net_core.records import Status


def draw_map(rows: int, columns: int, patterns: int, share: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((rows, columns)) < share, rng.integers(1, patterns, (rows, columns)), 0)


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    patterns=st.integers(2, 1024),
    share=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    octave=st.integers(0, CLASSES - 1),
    seed=st.integers(0, 99),
)
def test_a_map_comes_back_and_costs_what_is_ideal(
    rows: int, columns: int, patterns: int, share: float, octave: int, seed: int
) -> None:
    tables = make_tables(patterns)
    indices = draw_map(rows, columns, patterns, share, seed)
    encoded = encode_indices(indices, tables, octave)
    np.testing.assert_array_equal(decode_indices(encoded, tables, octave, rows, columns), indices)
    assert len(encoded) <= 1.01 * measure_bits(indices, tables, octave) / 8 + 4


def test_flags_adapt_to_a_picture_of_which_all_is_used() -> None:
    indices = np.ones((64, 64), np.intp)
    assert measure_bits(indices, make_tables(2), 2) < 0.2 * indices.size


def test_a_map_is_cheaper_where_used_cells_are_neighbours() -> None:
    together, apart = np.zeros((32, 32), np.intp), np.zeros((32, 32), np.intp)
    together[4:12, 4:12] = 1
    apart[::4, ::4] = 1
    assert together.sum() == apart.sum()
    tables = make_tables(2)
    assert measure_bits(together, tables, 2) < measure_bits(apart, tables, 2)


def test_bytes_left_behind_a_map_are_corrupt() -> None:
    tables = make_tables(8)
    encoded = encode_indices(draw_map(6, 7, 8, 0.3, 1), tables, 3)
    with pytest.raises(ImageError, match="left behind") as caught:
        decode_indices(encoded + b"\x12\x34\x56\x78" * 4, tables, 3, 6, 7)
    assert caught.value.status is Status.CORRUPT


@given(noise=st.binary(max_size=60), octave=st.integers(0, CLASSES - 1))
def test_any_bytes_are_a_map_of_valid_indices_or_corrupt(noise: bytes, octave: int) -> None:
    found: list[Status | np.ndarray] = []
    try:
        found.append(decode_indices(noise, make_tables(5), octave, 4, 5))
    except ImageError as error:
        found.append(error.status)
    (indices,) = found
    if isinstance(indices, Status):
        assert indices is Status.CORRUPT
    else:
        assert indices.shape == (4, 5)
        assert 0 <= indices.min() <= indices.max() < 5


def test_octaves_of_the_rate() -> None:
    pixels = 512 * 768
    rates = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 24)
    assert [rate_class(int(rate * pixels / 8), 512, 768) for rate in rates] == [0, 1, 2, 3, 4, 5, 6, 6]


def test_tables_that_cannot_be_coded_with_are_refused() -> None:
    good = make_tables(3)
    with pytest.raises(ValueError, match="counts"):
        Tables(np.zeros((CLASSES, CONTEXTS, 2), np.intp), good.frequencies)
    with pytest.raises(ValueError, match=str(SCALE)):
        Tables(good.counts, good.frequencies + 1)
