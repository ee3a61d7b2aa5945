"""A map of pattern indices to bytes and back, and what each index costs: contexts, counts, range coder.

Layer: numpy; constriction when a map is coded. No keras, no beam, no pyarrow.

Contexts are made of indices alone, never of pixels: decoders of pictures differ by a level between machines, and a
context that saw such a pixel would lose the rest of the stream. All frequencies are integers out of 2^16; as such they
are floating-point numbers without rounding, and constriction makes the same intervals of them everywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from q1net_core.arrays import Float64Array, IntArray
from q1net_core.errors import ConfigError, ImageError
from q1net_core.records import Status

SCALE_BITS = 16
SCALE = 1 << SCALE_BITS
# No flag is ever taken for more certain than this.
LEAST = 64
# Neighbours (rows up, columns left) that tell whether a cell is used, with their weights.
NEIGHBOURS = (((0, 1), 2), ((1, 0), 2), ((1, -1), 1), ((1, 1), 1), ((0, 2), 1), ((2, 0), 1))
CONTEXTS = 1 + sum(weight for _, weight in NEIGHBOURS)
# Rates are told apart by octaves, from below 1/16 bit per pixel to above 2.
CLASSES = 7
# What one flag adds to the counts of its context, and the sum at which they are halved.
STEP, MOST = 24, 1 << 13


def rate_class(base_bytes: int, height: int, width: int) -> int:
    """Which tables a file uses: the octave of its base stream's bits per pixel, by integers alone."""
    sixteenths = 8 * base_bytes * 16 // (height * width)
    return min(CLASSES - 1, sixteenths.bit_length())


@dataclass(frozen=True, slots=True)
class Tables:
    """What a model knows of indices before it sees any, as integers.

    Args:
        counts: [CLASSES, CONTEXTS, 2], how often a cell is unused and used in each context; each at least 1.
        frequencies: [CLASSES, K - 1], of the patterns 1..K-1 where one is used; each row sums to 2^16, none is 0.
    """

    counts: IntArray
    frequencies: IntArray

    def __post_init__(self) -> None:
        if self.counts.shape != (CLASSES, CONTEXTS, 2) or self.counts.min() < 1 or self.counts.sum(-1).max() > MOST:
            raise ValueError(f"counts are [{CLASSES}, {CONTEXTS}, 2] of 1 or more, {MOST} at most in each context")
        rows = self.frequencies
        if rows.ndim != 2 or len(rows) != CLASSES or rows.min() < 1 or set(rows.sum(1).tolist()) != {SCALE}:
            raise ValueError(f"frequencies are [{CLASSES}, K - 1] of 1 or more, each row with the sum {SCALE}")

    @property
    def patterns(self) -> int:
        """K, the pattern "none" included."""
        used: int = self.frequencies.shape[1]
        return used + 1

    def index_bits(self, octave: int) -> Float64Array:
        """What naming each of the patterns 1..K-1 costs where one is used, in bits."""
        bits: Float64Array = SCALE_BITS - np.log2(self.frequencies[octave])
        return bits


class Flags:
    """Used or not, cell by cell in raster order: the frequency of "used" now, which adapts to the flags so far.

    Encoder, decoder and whoever chooses patterns walk through the same states.
    """

    def __init__(self, tables: Tables, octave: int, rows: int, columns: int) -> None:
        self.counts: list[list[int]] = tables.counts[octave].tolist()
        # Two unused columns on either side and two rows above: no cell needs an exception.
        self.stride = columns + 4
        self.used = [0] * (self.stride * (rows + 2))
        self.offsets = [(-up * self.stride - left, weight) for (up, left), weight in NEIGHBOURS]
        self.rows, self.columns = rows, columns

    def cells(self) -> Iterator[int]:
        """Places of the cells in raster order, for ``frequency`` and ``update``."""
        for row in range(2, self.rows + 2):
            start = row * self.stride + 2
            yield from range(start, start + self.columns)

    def context(self, place: int) -> int:
        """How many of the neighbours are used, by their weights."""
        used = self.used
        return sum(weight for offset, weight in self.offsets if used[place + offset])

    def frequency(self, context: int) -> int:
        """How likely "used" is, out of 2^16."""
        unused, used = self.counts[context]
        return min(max((used << SCALE_BITS) // (unused + used), LEAST), SCALE - LEAST)

    def update(self, place: int, context: int, used: int) -> None:
        """Learn a flag."""
        self.used[place] = used
        counts = self.counts[context]
        counts[used] += STEP
        if sum(counts) > MOST:
            counts[:] = [(count + 1) // 2 for count in counts]


def import_constriction() -> ModuleType:
    """The range coder; raises ConfigError if it is not installed."""
    try:
        import constriction
    except ImportError as error:
        raise ConfigError("patterns need constriction, which is not installed; pip install '.[boost]'") from error
    module: ModuleType = constriction
    return module


def flag_model(coder: ModuleType, frequency: int) -> Any:
    """The distribution of one flag."""
    probabilities = np.array([SCALE - frequency, frequency], np.float64) / SCALE
    return coder.stream.model.Categorical(probabilities, perfect=False)


def index_model(coder: ModuleType, tables: Tables, octave: int) -> Any:
    """The distribution of the indices where a pattern is used."""
    return coder.stream.model.Categorical(tables.frequencies[octave] / SCALE, perfect=False)


def has_choice(tables: Tables) -> bool:
    """Whether there are several patterns beside "none": one alone needs no bits, and no coder takes it."""
    return tables.patterns > 2


def encode_indices(indices: IntArray, tables: Tables, octave: int) -> bytes:
    """A map of indices [rows, columns], 0 is "none" -> bytes: all flags, then the patterns that are used."""
    coder = import_constriction()
    encoder = coder.stream.queue.RangeEncoder()
    flat = indices.ravel()
    frequencies = np.array(list(walk(indices, tables, octave)), np.float64) / SCALE
    family = coder.stream.model.Categorical(perfect=False)
    encoder.encode((flat > 0).astype(np.int32), family, np.stack([1 - frequencies, frequencies], axis=1))
    if flat.any() and has_choice(tables):
        encoder.encode((flat[flat > 0] - 1).astype(np.int32), index_model(coder, tables, octave))
    words: bytes = encoder.get_compressed().astype(">u4").tobytes()
    # The decoder fills the last word up again.
    return words[: max(len(words.rstrip(b"\0")), len(words) - 3)]


def walk(indices: IntArray, tables: Tables, octave: int) -> Iterator[int]:
    """The frequency of "used" before each cell of a known map, in raster order."""
    flags = Flags(tables, octave, *indices.shape)
    for place, used in zip(flags.cells(), (indices.ravel() > 0).tolist(), strict=True):
        context = flags.context(place)
        yield flags.frequency(context)
        flags.update(place, context, int(used))


def measure_bits(indices: IntArray, tables: Tables, octave: int) -> float:
    """The ideal length of a map, in bits."""
    frequencies = np.array(list(walk(indices, tables, octave)))
    used = indices.ravel() > 0
    flags = np.log2(SCALE / np.where(used, frequencies, SCALE - frequencies)).sum()
    return float(flags + tables.index_bits(octave)[indices.ravel()[used] - 1].sum())


def decode_indices(encoded: bytes, tables: Tables, octave: int, rows: int, columns: int) -> IntArray:
    """The map that ``encode_indices`` got; raises ImageError ``corrupt`` if the bytes are no such map."""
    coder = import_constriction()
    words = np.frombuffer(encoded + bytes(-len(encoded) % 4), ">u4").astype(np.uint32)
    decoder = coder.stream.queue.RangeDecoder(words)
    flags, used = Flags(tables, octave, rows, columns), []
    try:
        for place in flags.cells():
            context = flags.context(place)
            flag = decoder.decode(flag_model(coder, flags.frequency(context)))
            flags.update(place, context, flag)
            used.append(flag)
        indices = np.array(used, np.intp)
        if indices.any() and has_choice(tables):
            indices[indices > 0] = 1 + decoder.decode(index_model(coder, tables, octave), int(indices.sum()))
    except (AssertionError, ValueError) as error:
        raise ImageError(Status.CORRUPT, f"the pattern indices are broken: {error}") from error
    if not decoder.maybe_exhausted():
        raise ImageError(Status.CORRUPT, "bytes are left behind the pattern indices; expected none")
    return indices.reshape(rows, columns)
