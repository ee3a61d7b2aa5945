"""Pixels -> what a network sees of an image. SAMPLERS names the kinds of input; an InputKind is one of them as data.

Layer: numpy only; no keras, no beam, no pyarrow.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from q1net_core.arrays import IntArray
from q1net_core.errors import ImageError
from q1net_core.patches import DEFAULT_PATCHES, PATCH, cut_windows, sample_patches, spread_blocks
from q1net_core.records import Status, UInt8Array

Grid = tuple[int, int]


@dataclass(frozen=True, slots=True)
class InputKind:
    """What a network sees of an image: a ``sampler`` of SAMPLERS, and the height and width in pixels of a sample.

    ``size`` is None where samples are as large as their image.
    """

    sampler: str
    size: int | None

    def check_size(self, height: int, width: int) -> None:
        """Raise ImageError ``too_small`` for an image without room for a sample of this size."""
        if self.size is not None and min(height, width) < self.size:
            raise ImageError(
                Status.TOO_SMALL,
                f"image is {width} x {height} pixels; the network sees {self.size} x {self.size} of it",
            )

    def most(self, patches: int = DEFAULT_PATCHES) -> int:
        """The largest number of samples of one image, where ``patches`` are wanted."""
        return patches if self.sampler in ("patches", "macroblocks") else 1


PATCHES = InputKind("patches", PATCH)
# What H.264 codes as one, and HEVC as its smallest unit of prediction modes; from the picture's top left corner.
MACROBLOCK = 16
WHOLE_IMAGE = InputKind("whole image", None)


def centre_crop(size: int) -> InputKind:
    """One square of ``size`` pixels from the middle of the image."""
    return InputKind("centre crop", size)


def macroblocks(size: int) -> InputKind:
    """Squares of ``size`` pixels, each a macroblock of 16 x 16 and what lies around it."""
    return InputKind("macroblocks", size)


def macroblock_starts(length: int, border: int) -> IntArray:
    """Starts of all macroblocks along one axis with ``border`` pixels on both sides inside ``length`` pixels.

    >>> macroblock_starts(64, 4).tolist()
    [16, 32]
    >>> macroblock_starts(33, 0).tolist()
    [0, 16]
    """
    first = -(-border // MACROBLOCK) * MACROBLOCK
    return np.arange(first, length - MACROBLOCK - border + 1, MACROBLOCK)


def sample_macroblocks(pixels: UInt8Array, size: int, patches: int) -> UInt8Array:
    """Uniformly spread macroblocks with their surroundings: uint8 [N, size, size, 3], N <= ``patches``."""
    height, width = pixels.shape[:2]
    border = (size - MACROBLOCK) // 2
    blocks = spread_blocks(macroblock_starts(height, border), macroblock_starts(width, border), patches)
    if len(blocks) == 0:
        raise ImageError(
            Status.TOO_SMALL, f"image is {width} x {height} pixels; no macroblock has {border} pixels around it"
        )
    return cut_windows(pixels, blocks[:, 0] - border, blocks[:, 1] - border, size)


def sample_centre(pixels: UInt8Array, size: int) -> UInt8Array:
    """The middle of an image: uint8 [1, size, size, 3]."""
    height, width = pixels.shape[:2]
    top, left = (height - size) // 2, (width - size) // 2
    return pixels[None, top : top + size, left : left + size]


# Name -> (pixels, its kind of input, patches wanted, phase of the block grid) -> samples.
SAMPLERS: dict[str, Callable[[UInt8Array, InputKind, int, Grid], UInt8Array]] = {
    "patches": lambda pixels, kind, patches, grid: sample_patches(pixels, patches, grid),
    "macroblocks": lambda pixels, kind, patches, grid: sample_macroblocks(pixels, kind.size or 0, patches),
    "centre crop": lambda pixels, kind, patches, grid: sample_centre(pixels, kind.size or 0),
    "whole image": lambda pixels, kind, patches, grid: pixels[None],
}


def sample(
    pixels: UInt8Array, kind: InputKind = PATCHES, patches: int = DEFAULT_PATCHES, grid: Grid = (0, 0)
) -> UInt8Array:
    """What a network sees of an image: uint8 [N, h, w, 3].

    Args:
        pixels: uint8 [height, width, 3].
        kind: of the network's input.
        patches: how many patches or macroblocks at most, a square number; crops and whole images are one.
        grid: phase (x, y) of the block grid that patches are cut on, each 0..7.

    Raises:
        ImageError: ``too_small``, the image has no room for a sample.
    """
    kind.check_size(*pixels.shape[:2])
    return SAMPLERS[kind.sampler](pixels, kind, patches, grid)
