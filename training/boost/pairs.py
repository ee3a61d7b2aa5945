"""Pictures before and after a base codec, from lossless photographs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from q1net_core import listing, storage
from q1net_core.arrays import Float32Array, UInt8Array
from q1net_core.boost.bases import Base
from q1net_core.boost.features import describe_rate
from q1net_core.errors import ConfigError
from q1net_core.images.decode import Limits, decode


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture uint8 [H, W, 3] and what the codec left of it, with the codec's RMSE ``noise`` and its rate."""

    original: UInt8Array
    decoded: UInt8Array
    noise: float
    bpp: float

    @property
    def rate(self) -> Float32Array:
        """What the filter is told of the rate."""
        return describe_rate(self.bpp, psnr_of(self.noise))


def psnr_of(noise: float) -> float:
    """RMSE in levels -> PSNR in dB."""
    return float(20 * np.log10(255 / noise))


def read_photographs(pattern: str) -> list[UInt8Array]:
    """All pictures of a folder, file or glob, cut to sides that are multiples of 16; raises ConfigError without any."""
    photographs = []
    for image in listing.list_images(pattern):
        pixels = decode(storage.read_bytes(image.uri, Limits().max_bytes)).pixels
        height, width = (side // 16 * 16 for side in pixels.shape[:2])
        photographs.append(np.ascontiguousarray(pixels[:height, :width]))
    if not photographs:
        raise ConfigError(f"no image matches {pattern!r}; expected lossless photographs")
    return photographs


def draw_level(base: Base, rng: np.random.Generator) -> int:
    """A level of the trained range. All octaves of the rate are as likely, but for HEVC's, whose CRF is a logarithm."""
    worst, best = base.trained
    if best > worst:
        return round(float(np.exp(rng.uniform(np.log(worst), np.log(best)))))
    return int(rng.integers(best, worst + 1))


def compress(original: UInt8Array, base: Base, level: int) -> Pair:
    """One picture after the codec."""
    encoded = base.encode(original, level)
    height, width = original.shape[:2]
    decoded = base.decode(encoded, height, width)
    noise = float(np.sqrt(np.mean((original.astype(np.float32) - decoded) ** 2)))
    # A picture of one colour has no noise to learn from.
    return Pair(original, decoded, max(noise, 0.1), 8 * len(encoded) / (height * width))


def make_pairs(photographs: Sequence[UInt8Array], base: Base, rates: int, seed: int) -> Iterator[Pair]:
    """Each photograph at so many ``rates``, drawn at random."""
    rng = np.random.default_rng(seed)
    for photograph in photographs:
        for _ in range(rates):
            yield compress(photograph, base, draw_level(base, rng))
