"""One picture through the whole scheme: base codec, post-filter, patterns; and back from its file.

Layer: numpy and Pillow, constriction for patterns, keras when the filter runs; no beam, no pyarrow.
"""

from dataclasses import dataclass

import numpy as np

from q1net_core.alterations import round_pixels
from q1net_core.arrays import Float32Array, IntArray, UInt8Array
from q1net_core.boost.bases import BASES, Base
from q1net_core.boost.container import BoostFile, check_sides, noise_byte, noise_level, parse_file
from q1net_core.boost.features import LUMA, describe_rate, join_bands, to_features
from q1net_core.boost.indices import decode_indices, encode_indices, rate_class
from q1net_core.boost.measures import psnr
from q1net_core.boost.model import BoostModel
from q1net_core.boost.patterns import choose_patterns, grid_of, price_of_a_bit, render, to_blocks, usual_gain
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.images.decode import Limits

LIMITS = Limits()
# A codec gains between so many dB by doubling its rate; what is beyond was measured where its curve is not one.
LEAST_GAIN, MOST_GAIN = 1.0, 8.0


@dataclass(frozen=True, slots=True)
class Boosted:
    """One picture, encoded.

    Args:
        stream: the base stream alone.
        control: the file with the post-filter and no patterns.
        file: the file with patterns, or ``control`` where they do not pay.
        indices: of the patterns; None where there are none.
    """

    stream: bytes
    control: bytes
    file: bytes
    indices: IntArray | None


def restore(decoded: UInt8Array, stream_bytes: int, noise: int, model: BoostModel) -> Float32Array:
    """The post-filter over a decoded picture uint8 [H, W, 3] -> float32, not rounded."""
    height, width = decoded.shape[:2]
    level, rmse = noise_level(noise)
    rate = describe_rate(8 * stream_bytes / (height * width), level)
    even = np.pad(decoded, [(0, height % 2), (0, width % 2), (0, 0)], "edge")
    corrections = model.restorer.correct(to_features(even, rmse, rate))
    restored: Float32Array = decoded + join_bands(corrections)[:height, :width] * np.float32(rmse / 2)
    return restored


def add_patterns(picture: Float32Array, indices: IntArray, noise: int, model: BoostModel) -> Float32Array:
    """A picture float32 [H, W, 3] with the patterns of a map added to its luma."""
    luma = render(indices, model.codebook, *picture.shape[:2]) * np.float32(noise_level(noise)[1])
    added: Float32Array = picture + luma[:, :, None] * LUMA
    return added


def boost(pixels: UInt8Array, level: int, model: BoostModel, limits: Limits = LIMITS) -> Boosted:
    """Pixels uint8 [H, W, 3] -> their files at a level of the model's base codec.

    The filter is left out where it makes the picture worse: so a file is never worse than the base stream by more than
    its header. Patterns are left out where the same bytes gain as much in the base codec, by its curve of this picture
    up to the next level that is measured.

    Raises:
        ImageError: ``too_small`` or ``too_large``.
        ConfigError: the codec has no such level, or a library is missing.
    """
    height, width = pixels.shape[:2]
    check_sides(height, width, limits.max_pixels)
    base = BASES[model.base]
    if level not in base.levels:
        raise ConfigError(f"level is {level}; {model.base} has {min(base.levels)} to {max(base.levels)}")
    stream = base.encode(pixels, level)
    decoded = base.decode_checked(stream, height, width)
    plain = psnr(pixels, decoded)
    noise = noise_byte(plain)
    restored = restore(decoded, len(stream), noise, model)
    filtered = bool(np.sum((pixels - restored) ** 2) < np.sum((pixels - decoded.astype(np.float32)) ** 2))
    shown = restored if filtered else decoded.astype(np.float32)

    def pack(indices: IntArray | None) -> bytes:
        coded = None if indices is None else encode_indices(indices, model.tables, octave)
        return BoostFile(model.base, height, width, noise, model.name, stream, filtered, coded).to_bytes()

    octave, bpp = rate_class(len(stream), height, width), 8 * len(stream) / (height * width)
    control, gain = pack(None), measure_gain(pixels, level, len(stream), plain, base)
    best = Boosted(stream, control, control, None)
    most = psnr(pixels, round_pixels(shown))
    # Choices make those after them cheaper, which no price foresees: two are tried.
    for price in (price_of_a_bit(bpp, gain), price_of_a_bit(bpp, usual_gain(bpp))):
        indices = find_patterns(pixels, shown, len(stream), noise, model, price)
        if indices is not None:
            file = pack(indices)
            reached = psnr(pixels, round_pixels(add_patterns(shown, indices, noise, model)))
            if (worth := reached - gain * float(np.log2(len(file) / len(control)))) > most:
                best, most = Boosted(stream, control, file, indices), worth
    return best


def measure_gain(pixels: UInt8Array, level: int, stream_bytes: int, plain: float, base: Base) -> float:
    """How many dB the base codec gains by doubling its rate on this picture, from its next level that is measured.

    ``plain`` is the PSNR of ``stream_bytes`` at ``level``. Levels of which neither rate nor PSNR differs, as of a flat
    picture, tell nothing: then it is the usual gain.
    """
    place = base.levels.index(level)
    other = next((known for known in base.curve if base.levels.index(known) > place), None)
    if other is None:
        other = next(known for known in reversed(base.curve) if known != level)
    stream = base.encode(pixels, other)
    height, width = pixels.shape[:2]
    doublings = float(np.log2(len(stream) / stream_bytes))
    gained = psnr(pixels, base.decode_checked(stream, height, width)) - plain
    if doublings * gained <= 0:
        return usual_gain(8 * stream_bytes / (height * width))
    return float(np.clip(gained / doublings, LEAST_GAIN, MOST_GAIN))


def find_patterns(
    pixels: UInt8Array, shown: Float32Array, stream_bytes: int, noise: int, model: BoostModel, price: float
) -> IntArray | None:
    """The map of patterns [rows, columns] for what the base and the filter show; None where none pays.

    ``price`` is the squared error, in units of the codec's MSE, that a bit must save.
    """
    height, width = pixels.shape[:2]
    residual = ((pixels - shown) @ LUMA / np.float32(noise_level(noise)[1])).astype(np.float32)
    octave = rate_class(stream_bytes, height, width)
    indices = choose_patterns(to_blocks(residual), model.codebook, model.tables, octave, price)
    return indices if indices.any() else None


def show(encoded: bytes, model: BoostModel, limits: Limits = LIMITS) -> UInt8Array:
    """A boosted picture's file -> pixels uint8 [H, W, 3].

    Raises:
        ImageError: the file is empty, broken, of another kind, or out of bounds.
        WeightsError: it was made with another model.
        ConfigError: a library is missing.
    """
    file = parse_file(encoded, limits.max_pixels)
    if file.base != model.base or file.model != model.name:
        raise WeightsError(
            f"the picture was made with the {file.base} model whose sha256 begins with {file.model.hex()}; this one is "
            f"for {model.base} and begins with {model.name.hex()}"
        )
    decoded = BASES[file.base].decode_checked(file.stream, file.height, file.width)
    picture = decoded.astype(np.float32)
    if file.filtered:
        picture = restore(decoded, len(file.stream), file.noise, model)
    if file.indices is not None:
        octave = rate_class(len(file.stream), file.height, file.width)
        grid = grid_of(file.height, file.width)
        indices = decode_indices(file.indices, model.tables, octave, *grid)
        picture = add_patterns(picture, indices, file.noise, model)
    return round_pixels(picture)
