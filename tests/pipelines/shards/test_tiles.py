"""Tiles are read back as they were kept."""

from pathlib import Path

import numpy as np
import pytest
from pictures import make_picture

from pipelines.shards.tiles import read_tiles, write_tiles
from q1net_core.codecs.jpeg import JPEG
from q1net_core.codecs.positions import cut_mosaics, draw_positions


@pytest.mark.parametrize("phases", ["aligned", "all"])
def test_tiles_are_read_back_with_their_positions(phases: str, tmp_path: Path) -> None:
    pixels = make_picture(1, 96, 128)
    positions = draw_positions(np.random.default_rng(1), pixels, 20, phases)
    kept = cut_mosaics(pixels, positions, JPEG)
    write_tiles(str(tmp_path), "ff", positions, kept)
    read_positions, read = read_tiles(str(tmp_path), "ff")
    assert np.array_equal(read_positions, positions)
    assert len(read) == len(kept)
    for one, other in zip(read, kept, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert np.array_equal([one.tops, one.lefts, one.indices], [other.tops, other.lefts, other.indices])
