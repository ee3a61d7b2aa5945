import numpy as np
import pytest
from boosted import make_tables
from hypothesis import given
from hypothesis import strategies as st

from q1net_core.boost.indices import SCALE, Flags
from q1net_core.boost.patterns import (
    choose_patterns,
    find_distances,
    grid_of,
    price_of_a_bit,
    render,
    to_blocks,
    to_plane,
    usual_gain,
)


@given(height=st.integers(8, 40), width=st.integers(8, 40))
def test_blocks_are_taken_apart_and_put_together(height: int, width: int) -> None:
    plane = np.random.default_rng(0).normal(size=(height, width)).astype(np.float32)
    blocks = to_blocks(plane)
    assert blocks.shape == (*grid_of(height, width), 64)
    np.testing.assert_array_equal(to_plane(blocks, height, width), plane)
    np.testing.assert_array_equal(blocks[0, 0], plane[:8, :8].ravel())


@given(patterns=st.integers(2, 9), price=st.floats(0, 60), seed=st.integers(0, 99))
def test_the_choice_is_that_of_trying_all(patterns: int, price: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codebook = np.concatenate([np.zeros((1, 64)), rng.normal(size=(patterns - 1, 64))]).astype(np.float32)
    blocks = (rng.normal(size=(4, 5, 64)) * rng.choice([0.2, 1.5], (4, 5, 1))).astype(np.float32)
    tables = make_tables(patterns)
    chosen = choose_patterns(blocks, codebook, tables, 2, price).ravel()
    flags = Flags(tables, 2, 4, 5)
    bits = tables.index_bits(2)
    for place, block, index in zip(flags.cells(), blocks.reshape(-1, 64), chosen, strict=True):
        context = flags.context(place)
        used = flags.frequency(context) / SCALE
        rates = [-np.log2(1 - used), *(bits - np.log2(used))]
        costs = ((block - codebook) ** 2).sum(1) + price * np.array(rates)
        assert costs[index] == pytest.approx(costs.min(), abs=1e-3)
        flags.update(place, context, int(index > 0))


def test_nothing_is_chosen_where_a_bit_is_dear_and_the_nearest_where_it_is_free() -> None:
    rng = np.random.default_rng(0)
    codebook = np.concatenate([np.zeros((1, 64)), rng.normal(size=(7, 64))]).astype(np.float32)
    blocks = rng.normal(size=(6, 6, 64)).astype(np.float32)
    tables = make_tables(8)
    assert not choose_patterns(blocks, codebook, tables, 0, 1e9).any()
    nearest = find_distances(blocks.reshape(-1, 64), codebook).argmin(1).reshape(6, 6)
    np.testing.assert_array_equal(choose_patterns(blocks, codebook, tables, 0, 0.0), nearest)


def test_an_empty_map_adds_nothing() -> None:
    codebook = np.concatenate([np.zeros((1, 64)), np.ones((3, 64))]).astype(np.float32)
    assert not render(np.zeros((2, 3), np.intp), codebook, 9, 17).any()
    one = np.zeros((2, 3), np.intp)
    one[1, 2] = 2
    assert render(one, codebook, 9, 17).sum() == 1


def test_the_price_of_a_bit_is_the_slope_of_the_codec() -> None:
    # 2.1 dB a doubling at 0.15 bpp: from R to R + dR the error 3 * 10^(-0.21 log2 R) falls by price * dR.
    small = 1e-6
    errors = [3 * 10 ** (-0.21 * np.log2((0.15 + step) / 0.15)) for step in (0, small)]
    assert price_of_a_bit(0.15, 2.1) == pytest.approx((errors[0] - errors[1]) / small, rel=1e-3)
    assert usual_gain(0.15) == 2.1
    usual = [price_of_a_bit(bpp, usual_gain(bpp)) for bpp in (0.1, 0.2, 1.0)]
    assert usual == sorted(usual, reverse=True)
