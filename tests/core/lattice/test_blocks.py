"""Blocks: luma as the decoder had it, the DCT of T.81, activity by block, the busiest and the discriminative ones."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import ORIGINALS, compress, encode_jpeg, load_original, make_picture, make_texture
from PIL import Image

from q1net_core.arrays import UInt8Array
from q1net_core.lattice.blocks import (
    BLOCKS,
    DCT_MATRIX,
    Grid,
    busiest,
    choose_blocks,
    choose_discriminative_blocks,
    cut_luma,
    dct,
    luma_of,
    measure_activity,
)
from q1net_core.lattice.noise import regular_noise, sparse_noise


def place_grid(pixels: UInt8Array, x: int = 0, y: int = 0) -> Grid:
    """The grid of a phase, as find_grid gives it."""
    return Grid(x, y, 0.0, measure_activity(pixels, x, y))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("name", ORIGINALS)
def test_the_luma_is_the_decoders_wherever_nothing_is_clipped(name: str, subsampling: str) -> None:
    encoded = encode_jpeg(load_original(name), 80, subsampling=subsampling)
    pixels = np.asarray(Image.open(BytesIO(encoded)))
    luma = Image.open(BytesIO(encoded))
    luma.draft("L", luma.size)
    unclipped = ((pixels > 0) & (pixels < 255)).all(axis=2)
    assert unclipped.mean() > 0.5
    assert np.array_equal(luma_of(pixels)[unclipped], np.asarray(luma)[unclipped])


def test_grey_is_its_own_luma() -> None:
    values = np.arange(256, dtype=np.uint8)
    assert luma_of(np.stack([values] * 3, axis=-1)).tolist() == values.tolist()


def test_the_transform_is_orthonormal_and_finds_each_frequency_in_its_place() -> None:
    assert np.allclose(DCT_MATRIX @ DCT_MATRIX.T, np.eye(64), atol=1e-6)
    n = np.arange(8)
    for v, u in [(0, 0), (0, 1), (3, 0), (2, 5), (7, 7)]:
        wave = np.outer(np.cos((2 * n + 1) * v * np.pi / 16), np.cos((2 * n + 1) * u * np.pi / 16))
        block = np.rint(128 + 100 * wave).astype(np.int32)
        # Definition of the forward DCT, ITU-T T.81, A.3.3.
        scale = 0.25 * (2**-0.5 if u == 0 else 1) * (2**-0.5 if v == 0 else 1)
        expected = scale * ((block - 128) * wave).sum()
        coefficients = dct(block[None])[0]
        assert int(np.abs(coefficients).argmax()) == 8 * v + u
        assert coefficients[8 * v + u] == pytest.approx(expected, rel=1e-5)


@given(st.integers(0, 1000), st.integers(8, 40), st.integers(8, 40), st.integers(0, 7), st.integers(0, 7))
def test_activity_is_that_of_each_block_and_zero_where_it_is_clipped(
    seed: int, height: int, width: int, x: int, y: int
) -> None:
    pixels = make_texture(seed, height, width)
    activity = measure_activity(pixels, x, y)
    assert activity.shape == (max((height - y) // 8, 0), max((width - x) // 8, 0))
    for row, column in np.ndindex(activity.shape):
        block = pixels[y + 8 * row : y + 8 * row + 8, x + 8 * column : x + 8 * column + 8]
        clipped = block.min() == 0 or block.max() == 255
        assert activity[row, column] == (0 if clipped else np.ptp(block[..., 1], axis=0).max())


def test_the_busiest_come_first_and_the_idle_never() -> None:
    activity = np.array([[0, 9, 3], [200, 0, 9]], np.uint8)
    rows, columns = busiest(activity, 10)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(1, 0), (0, 1), (1, 2), (0, 2)]
    assert [len(places) for places in busiest(activity, 2)] == [2, 2]
    assert [len(places) for places in busiest(np.zeros((0, 0), np.uint8), 5)] == [0, 0]


def test_windows_of_luma_are_cut_where_they_were_asked_for() -> None:
    pixels = make_picture(1)
    tops, lefts = np.array([0, 7, 65]), np.array([81, 3, 0])
    windows = cut_luma(pixels, tops, lefts, 15)
    for window, top, left in zip(windows, tops, lefts, strict=True):
        assert np.array_equal(window, luma_of(pixels[top : top + 15, left : left + 15]))


def test_blocks_are_the_busiest_ones_regular_and_sparse_apart() -> None:
    pixels = np.full((400, 384, 3), 100, np.uint8)
    pixels[:32] = compress(load_original("messenger/houses.jpg"), 80)[96:128]
    # Equal columns: these vary along one axis only.
    pixels[360:] = np.tile(np.arange(60, 140, 10, dtype=np.uint8)[:, None, None], (5, 384, 3))
    regular, sparse = choose_blocks(pixels, place_grid(pixels))
    assert (regular.noise, sparse.noise) == (regular_noise(), sparse_noise())
    assert regular.magnitudes.shape[0] == sparse.magnitudes.shape[0] == 64
    assert 0 < regular.magnitudes.shape[1] < BLOCKS
    assert regular.magnitudes.shape[1] + sparse.magnitudes.shape[1] == BLOCKS
    assert min(regular.magnitudes.min(), sparse.magnitudes.min()) >= 0
    # Blocks of equal columns have no frequency across.
    across = [8 * v + u for v in range(8) for u in range(1, 8)]
    assert (sparse.magnitudes[across].max(axis=0) < 1e-3).mean() > 0.9
    assert regular.magnitudes[across].max(axis=0).min() > 1


def test_pictures_without_a_usable_block_give_none() -> None:
    for pixels in (np.full((64, 64, 3), 255, np.uint8), np.full((64, 64, 3), 90, np.uint8), make_texture(0, 7, 90)):
        assert choose_blocks(pixels, place_grid(pixels)) == []
    low = make_texture(0, 12, 90)
    assert choose_blocks(low, place_grid(low, 0, 5)) == []


def test_discriminative_blocks_are_those_with_most_at_the_frequencies_asked_for() -> None:
    pixels = compress(load_original("messenger/houses.jpg"), 80)[2:, 3:]
    grid = place_grid(pixels, 5, 6)
    for frequencies in (np.array([2]), np.array([8, 16])):
        (chosen,) = choose_discriminative_blocks(pixels, grid, frequencies)
        most = chosen.magnitudes[frequencies].max(axis=0)
        assert most.shape == (BLOCKS,)
        assert (np.diff(most) <= 0).all()
        rows, columns = np.nonzero(grid.activity)
        everywhere = np.abs(dct(cut_luma(pixels, rows * 8 + 6, columns * 8 + 5, 8)))[:, frequencies].max(axis=1)
        assert most.tolist() == pytest.approx(np.sort(everywhere)[::-1][:BLOCKS].tolist())
