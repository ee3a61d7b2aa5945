"""The block grid: luma as the decoder had it, the DCT of T.81, and all 64 phases found on what was cut off the grid."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import ORIGINALS, compress, encode_jpeg, load_original, make_picture, make_texture
from PIL import Image

from q1net_core.lattice.grid import DCT, Grid, busiest, cut_luma, find_grid, luma_of, measure_activity, transform
from q1net_core.records import UInt8Array


def told(grid: Grid) -> tuple[int, int, float]:
    return grid.x, grid.y, grid.prominence


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
    assert np.allclose(DCT @ DCT.T, np.eye(64), atol=1e-6)
    n = np.arange(8)
    for v, u in [(0, 0), (0, 1), (3, 0), (2, 5), (7, 7)]:
        wave = np.outer(np.cos((2 * n + 1) * v * np.pi / 16), np.cos((2 * n + 1) * u * np.pi / 16))
        block = np.rint(128 + 100 * wave).astype(np.int32)
        # Definition of the forward DCT, ITU-T T.81, A.3.3.
        scale = 0.25 * (2**-0.5 if u == 0 else 1) * (2**-0.5 if v == 0 else 1)
        expected = scale * ((block - 128) * wave).sum()
        coefficients = transform(block[None])[0]
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


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_each_of_the_64_phases_is_found(quality: int) -> None:
    pixels = compress(load_original("messenger/houses.jpg"), quality)
    for y in range(8):
        for x in range(8):
            grid = find_grid(pixels[40 + y : 200 + y, 80 + x : 240 + x])
            assert (grid.x, grid.y) == (-x % 8, -y % 8)
            assert grid.prominence > 5
            assert grid.activity.shape == ((160 - grid.y) // 8, (160 - grid.x) // 8)


@given(st.data())
def test_the_phase_of_any_crop_is_where_its_blocks_begin(data: st.DataObject) -> None:
    pixels = compress(load_original("camera/parrots.jpg"), data.draw(st.sampled_from([50, 70, 90])))
    height, width = (data.draw(st.integers(96, side)) for side in pixels.shape[:2])
    top, left = data.draw(st.integers(0, len(pixels) - height)), data.draw(st.integers(0, pixels.shape[1] - width))
    grid = find_grid(pixels[top : top + height, left : left + width])
    assert (grid.x, grid.y) == (-left % 8, -top % 8)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((64, 64, 3), 120, np.uint8),
        np.full((64, 64, 3), 255, np.uint8),
        np.tile(np.uint8([0, 255]), (64, 32))[..., None].repeat(3, axis=2),
        np.zeros((1, 1, 3), np.uint8),
        np.full((7, 300, 3), 9, np.uint8),
        make_picture(3)[:15, :15],
        make_picture(3)[:8],
    ],
    ids=["grey", "white", "clipped", "a pixel", "a strip", "one block", "one row of blocks"],
)
def test_where_nothing_can_be_seen_the_grid_begins_at_the_first_pixel(pixels: UInt8Array) -> None:
    assert told(find_grid(pixels)) == (0, 0, 0.0)


def test_without_compression_no_phase_stands_out() -> None:
    for name in ORIGINALS:
        assert find_grid(load_original(name)).prominence < 5


def test_the_order_of_bytes_in_memory_does_not_matter() -> None:
    pixels = compress(load_original("messenger/houses.jpg"), 60)[3:, 5:]
    grid = find_grid(np.ascontiguousarray(pixels))
    assert (grid.x, grid.y) == (3, 5)
    for same in (pixels, np.asfortranarray(pixels)):
        assert told(find_grid(same)) == told(grid)
        assert np.array_equal(find_grid(same).activity, measure_activity(pixels, 3, 5))
