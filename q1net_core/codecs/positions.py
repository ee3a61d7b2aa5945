"""Where training patches lie in a lossless image, and how they look at every level.

Layer: numpy and Pillow; no keras, no beam, no pyarrow. Shared by the trainer and by the shards.

A position is the top-left pixel (y, x) of a patch. Where the patch is aligned with the block grid, both are 4 modulo 8;
elsewhere they are off by a phase of -4..+3.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from q1net_core.arrays import IntArray, UInt8Array
from q1net_core.codecs.base import Codec
from q1net_core.codecs.jpeg import JPEG, MCU
from q1net_core.codecs.tiles import cut_tiles, tile_shapes
from q1net_core.errors import ConfigError, ImageError
from q1net_core.patches import BLOCK, BORDER, PATCH, cut_windows
from q1net_core.records import Status

# A patch whose values span less than this says little of the level; the reference recipe re-draws such positions too.
FLAT_RANGE = 12
DRAWS = 4

# The phases of the 8x8 grid at which patches may lie, along each axis.
PHASES = {"aligned": range(1), "all": range(-BORDER, BORDER)}


def usable_blocks(length: int) -> int:
    """How many blocks along one axis have a tile around them inside the image; the first is block 1.

    Tiles of 4:2:0, the largest, whatever the codec: so positions do not depend on it.
    """
    return length // MCU * (MCU // BLOCK) - 2


def shiftable_blocks(length: int) -> range:
    """The blocks along one axis whose patch has a tile inside the image whatever its phase."""
    return range(2, usable_blocks(length) - 1)


def draw_position(
    rng: np.random.Generator,
    pixels: UInt8Array,
    shift: tuple[int, int] | None = None,
    taken: Collection[tuple[int, int]] = (),
) -> tuple[int, int]:
    """Top-left pixel (y, x) of a random patch, re-drawn up to 3 times while it is flat or already taken.

    Aligned with the block grid, or with ``shift`` off it by so many pixels (y, x), each of -4..+3.
    """
    height, width = pixels.shape[:2]
    if shift is None:
        rows, columns, (down, right) = range(1, usable_blocks(height) + 1), range(1, usable_blocks(width) + 1), (0, 0)
    else:
        rows, columns, (down, right) = shiftable_blocks(height), shiftable_blocks(width), shift
    for _ in range(DRAWS):
        top = int(rng.integers(rows.start, rows.stop)) * BLOCK - BORDER + down
        left = int(rng.integers(columns.start, columns.stop)) * BLOCK - BORDER + right
        patch = pixels[top : top + PATCH, left : left + PATCH]
        if int(patch.max()) - int(patch.min()) > FLAT_RANGE and (top, left) not in taken:
            break
    return top, left


def check_room(pixels: UInt8Array, count: int, phases: str = "aligned") -> None:
    """Raise ImageError ``too_small`` unless the image is large enough for ``count`` different positions."""
    height, width = pixels.shape[:2]
    if phases == "aligned":
        rooms, least = [max(0, usable_blocks(length)) for length in (height, width)], 2 * MCU
    else:
        rooms, least = [len(shiftable_blocks(length)) for length in (height, width)], 3 * MCU
    if rooms[0] * rooms[1] < count:
        raise ImageError(
            Status.TOO_SMALL,
            f"image is {width} x {height} pixels and holds {rooms[0] * rooms[1]} of the {count} blocks wanted; "
            f"expected at least {least} x {least} pixels, and more for many patches per image",
        )


def draw_positions(rng: np.random.Generator, pixels: UInt8Array, count: int, phases: str = "aligned") -> IntArray:
    """``count`` random positions of one image: int [count, 2], top-left pixels (y, x).

    Raises:
        ConfigError: ``phases`` is not in PHASES.
        ImageError: ``too_small``.
    """
    if phases not in PHASES:
        raise ConfigError(f"phases are {phases!r}; expected one of {', '.join(PHASES)}")
    check_room(pixels, count, phases)
    allowed = PHASES[phases]
    drawn: list[tuple[int, int]] = []
    taken: set[tuple[int, int]] = set()
    for _ in range(count):
        shift = None
        if phases == "all":
            down, right = rng.integers(allowed.start, allowed.stop, 2)
            shift = int(down), int(right)
        drawn.append(draw_position(rng, pixels, shift, taken))
        taken.add(drawn[-1])
    return np.array(drawn, np.intp).reshape(-1, 2)


def phases_of(positions: IntArray) -> IntArray:
    """How far each position is off the block grid along (y, x): int [N, 2] of -4..+3, 0 where aligned."""
    return positions % BLOCK - BORDER


@dataclass(frozen=True, slots=True)
class Mosaic:
    """A picture in which patches compress, bit for bit, as some patches of an image do inside that image.

    Args:
        pixels: uint8 [height, width, 3], the image itself or tiles of it, side by side.
        tops: the patches' first rows, int [N].
        lefts: the patches' first columns, int [N].
        indices: which of the image's positions these are, int [N].
    """

    pixels: UInt8Array
    tops: IntArray
    lefts: IntArray
    indices: IntArray


def cut_mosaics(pixels: UInt8Array, positions: IntArray, codec: Codec) -> list[Mosaic]:
    """Mosaics of the patches at ``positions``, int [N, 2], of an image, uint8 [height, width, 3].

    Where the codec has a geometry, of tiles around the patches: one mosaic for each shape of tile, or more where they
    would be too wide for the codec. Otherwise the image is the one mosaic.
    """
    tops, lefts = positions.T
    if codec.geometry is None:
        return [Mosaic(pixels, tops, lefts, np.arange(len(positions)))]
    shapes = tile_shapes(tops, lefts, PATCH, codec.geometry)
    mosaics = []
    for shape in np.unique(shapes, axis=0):
        fitting = codec.max_side // int(shape[1])
        alike = np.flatnonzero((shapes == shape).all(axis=1))
        for indices in np.split(alike, range(fitting, len(alike), fitting)):
            tiles, inner_tops, inner_lefts = cut_tiles(pixels, tops[indices], lefts[indices], PATCH, codec.geometry)
            count, tall, wide = tiles.shape[:3]
            mosaic = tiles.transpose(1, 0, 2, 3).reshape(tall, count * wide, 3)
            mosaics.append(Mosaic(mosaic, inner_tops, inner_lefts + np.arange(count) * wide, indices))
    return mosaics


def compress_mosaics(mosaics: Sequence[Mosaic], levels: IntArray, codec: Codec) -> UInt8Array:
    """The patches of mosaics after the codec at each of ``levels``, int [L]: uint8 [L, N, 16, 16, 3].

    N counts the patches of all mosaics, which come in the order of their ``indices``.
    """
    count = sum(len(mosaic.indices) for mosaic in mosaics)
    patches: UInt8Array = np.empty((len(levels), count, PATCH, PATCH, 3), np.uint8)
    for mosaic in mosaics:
        for row, level in enumerate(levels):
            compressed = codec.compress(mosaic.pixels, int(level))
            patches[row, mosaic.indices] = cut_windows(compressed, mosaic.tops, mosaic.lefts, PATCH)
    return patches


def compress_patches(pixels: UInt8Array, positions: IntArray, levels: IntArray, codec: Codec = JPEG) -> UInt8Array:
    """The patches at ``positions`` as they look in the whole image compressed at each of ``levels``, bit for bit.

    Where the codec has a geometry, at the cost of the patches' surroundings only.

    Args:
        pixels: uint8 [height, width, 3].
        positions: int [N, 2].
        levels: int [L].

    Returns:
        uint8 [L, N, 16, 16, 3].
    """
    return compress_mosaics(cut_mosaics(pixels, positions, codec), levels, codec)
