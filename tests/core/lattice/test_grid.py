"""The block grid: all 64 phases are found on pictures that were cut off their grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import ORIGINALS, compress, load_original, make_picture

from q1net_core.arrays import UInt8Array
from q1net_core.lattice import grid as grid_module
from q1net_core.lattice.blocks import Grid, measure_activity
from q1net_core.lattice.grid import SURE, WINDOWS, find_grid


def told(grid: Grid) -> tuple[int, int, float]:
    return grid.x, grid.y, grid.prominence


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


@pytest.mark.parametrize(("x", "y"), [(0, 0), (5, 2)])
def test_a_quarter_of_the_windows_tells_the_same_grid_as_all(monkeypatch: pytest.MonkeyPatch, x: int, y: int) -> None:
    for quality in (40, 75, 92):
        pixels = compress(load_original("messenger/houses.jpg"), quality)[(8 - y) % 8 :, (8 - x) % 8 :]
        quick = find_grid(pixels)
        assert quick.prominence >= SURE
        with monkeypatch.context() as patch:
            patch.setattr(grid_module, "FIRST_WINDOWS", WINDOWS)
            slow = find_grid(pixels)
        assert (quick.x, quick.y, quick.windows) == (slow.x, slow.y, slow.windows) == (x, y, WINDOWS)
        assert np.array_equal(quick.activity, slow.activity)


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
