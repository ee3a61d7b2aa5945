"""Where training patches lie in a lossless image, and how they look at every level.

Layer: numpy and Pillow; no keras, no beam, no pyarrow. Shared by the trainer and by the shards.

A place is the top-left pixel (y, x) of a patch. On the block grid both are 4 modulo 8; off it by a phase of -4..+3.
"""

from collections.abc import Collection

import numpy as np

from q1net_core.codecs import CHROMA_REACH, CODECS, MCU, Codec, compress_tiles, cut_inner, cut_tiles, tile_starts
from q1net_core.errors import ConfigError, ImageError
from q1net_core.patches import BLOCK, BORDER, PATCH, IntArray
from q1net_core.records import Status, UInt8Array

# A patch whose values span less than this says little of the level; the reference recipe re-draws such places too.
FLAT_RANGE = 12
DRAWS = 4

# The phases of the 8x8 grid at which patches may lie, along each axis.
PHASES = {"aligned": range(1), "all": range(-BORDER, BORDER)}
# A patch's tile spans two coding units along an axis, or three where it lies across two borders of them.
SMALL_TILE = 2 * MCU


def usable_blocks(length: int) -> int:
    """How many blocks along one axis have a tile around them inside the image; the first is block 1."""
    return length // MCU * (MCU // BLOCK) - 2


def shiftable_blocks(length: int) -> range:
    """The blocks along one axis whose patch has a tile inside the image whatever its phase."""
    return range(2, usable_blocks(length) - 1)


def draw_place(
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
    """Raise ImageError ``too_small`` unless the image is large enough for ``count`` different places."""
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


def draw_places(rng: np.random.Generator, pixels: UInt8Array, count: int, phases: str = "aligned") -> IntArray:
    """``count`` random places of one image: int [count, 2], top-left pixels (y, x).

    Raises:
        ConfigError: ``phases`` is not in PHASES.
        ImageError: ``too_small``.
    """
    if phases not in PHASES:
        raise ConfigError(f"phases are {phases!r}; expected one of {', '.join(PHASES)}")
    check_room(pixels, count, phases)
    allowed = PHASES[phases]
    places: dict[tuple[int, int], None] = {}
    drawn = []
    for _ in range(count):
        shift = None
        if phases == "all":
            down, right = rng.integers(allowed.start, allowed.stop, 2)
            shift = int(down), int(right)
        drawn.append(draw_place(rng, pixels, shift, places.keys()))
        places[drawn[-1]] = None
    return np.array(drawn, np.intp).reshape(-1, 2)


def phases_of(places: IntArray) -> IntArray:
    """How far each place is off the block grid along (y, x): int [N, 2] of -4..+3, 0 where aligned."""
    return places % BLOCK - BORDER


def compress_places(
    pixels: UInt8Array, places: IntArray, levels: IntArray, wanted: np.ndarray, codec: Codec = CODECS["jpeg"]
) -> UInt8Array:
    """The patches at ``places`` as they look in the whole image compressed at each of ``levels``.

    Bit for bit, at the cost of the patches' surroundings only: tiles around them are compressed, as one mosaic for
    each level and size of tile.

    Args:
        pixels: uint8 [height, width, 3].
        places: int [N, 2].
        levels: int [L].
        wanted: bool [L, N], which place is wanted at which level.
        codec: one with the geometry of JPEG 4:2:0.

    Returns:
        uint8 [wanted.sum(), 16, 16, 3], in the order of ``np.nonzero(wanted)``.
    """
    patches = np.empty((int(wanted.sum()), PATCH, PATCH, 3), np.uint8)
    rows = np.full(wanted.shape, -1)
    rows[wanted] = np.arange(len(patches))
    lengths = np.stack([axis + PATCH + CHROMA_REACH - tile_starts(axis, PATCH)[0] for axis in places.T])
    small = (lengths <= SMALL_TILE).all(axis=0)
    for group in (np.flatnonzero(small), np.flatnonzero(~small)):
        tiles, tops, lefts = cut_tiles(pixels, places[group, 0], places[group, 1], PATCH)
        for level, wanted_here, rows_here in zip(levels, wanted[:, group], rows[:, group], strict=True):
            if wanted_here.any():
                compressed = compress_tiles(tiles[wanted_here], int(level), codec)
                patches[rows_here[wanted_here]] = cut_inner(compressed, tops[wanted_here], lefts[wanted_here], PATCH)
    return patches
