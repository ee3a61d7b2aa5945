"""What the post-filter sees: opponent colours, a Haar step, and the noise of the codec as the unit. Exactly invertible.

Layer: numpy only. Pixels float32 [H, W, 3] with even sides; bands float32 [H / 2, W / 2, 12].
"""

import numpy as np

from q1net_core.arrays import Float32Array, UInt8Array

# Rows are luma, red against blue, green against both: orthonormal, so that squared errors stay what they are in RGB.
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], np.float32)
OPPONENT /= np.sqrt((OPPONENT**2).sum(axis=1, keepdims=True))
LUMA = OPPONENT[0]
COLOURS = 3
BANDS = 4 * COLOURS
PLANES = 2
# Half the side of the window that a low band loses the mean of.
REACH = 4


def split_bands(pixels: Float32Array) -> Float32Array:
    """Pixels -> bands: of each colour mean, horizontal, vertical and diagonal difference of 2x2 pixels, orthonormal."""
    colours = pixels @ OPPONENT.T
    a, b, c, d = colours[::2, ::2], colours[::2, 1::2], colours[1::2, ::2], colours[1::2, 1::2]
    return np.concatenate([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], axis=2) * np.float32(0.5)


def join_bands(bands: Float32Array) -> Float32Array:
    """What ``split_bands`` took apart."""
    low, across, down, diagonal = np.split(bands * np.float32(0.5), 4, axis=2)
    pixels = np.empty((2 * bands.shape[0], 2 * bands.shape[1], COLOURS), np.float32)
    pixels[::2, ::2] = low + across + down + diagonal
    pixels[::2, 1::2] = low - across + down - diagonal
    pixels[1::2, ::2] = low + across - down - diagonal
    pixels[1::2, 1::2] = low - across - down + diagonal
    return pixels @ OPPONENT


def local_mean(band: Float32Array, reach: int = REACH) -> Float32Array:
    """Means over windows of 2 ``reach`` + 1 a side, edges repeated; float32 [H, W, C]."""
    size = 2 * reach + 1
    for axis in (0, 1):
        margins = [(reach + 1, reach) if other == axis else (0, 0) for other in range(3)]
        total = np.cumsum(np.pad(band, margins, "edge"), axis=axis, dtype=np.float64)
        count = band.shape[axis]
        high, low = (np.take(total, range(first, first + count), axis=axis) for first in (size, 0))
        band = ((high - low) / size).astype(np.float32)
    return band


def describe_rate(bpp: float, psnr: float) -> Float32Array:
    """The two constant planes that tell the filter how hard the codec worked, float32 [2]."""
    return np.array([np.log2(bpp) / 2 + 1, (psnr - 30) / 5], np.float32)


def to_features(decoded: UInt8Array, noise: float, rate: Float32Array) -> Float32Array:
    """A decoded picture of even sides -> what the filter sees, float32 [H / 2, W / 2, 14].

    Args:
        decoded: uint8 [H, W, 3].
        noise: the codec's RMSE in levels.
        rate: what ``describe_rate`` gives.
    """
    bands = split_bands(decoded.astype(np.float32))
    low, high = bands[..., :COLOURS], bands[..., COLOURS:]
    low = (low - local_mean(low)) / np.float32(8 * noise)
    whitened = 2 * np.tanh(np.concatenate([low, high / np.float32(4 * noise)], axis=2))
    planes = np.broadcast_to(rate, (*bands.shape[:2], PLANES))
    return np.concatenate([whitened, planes], axis=2)
