"""The whole training of a model for one base codec: pairs, post-filter, what it leaves, patterns, tables."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import PIL

from q1net_core.arrays import Float32Array
from q1net_core.boost.bases import find_base
from q1net_core.boost.container import noise_byte, noise_level
from q1net_core.boost.features import LUMA
from q1net_core.boost.indices import rate_class
from q1net_core.boost.model import BoostModel, write_boost_model
from q1net_core.boost.patterns import price_of_a_bit, to_blocks, usual_gain
from q1net_core.boost.picture import restore
from q1net_core.errors import ConfigError
from training.boost.codebook import CodebookRecipe, Residual, train_codebook, train_tables
from training.boost.filter import FilterRecipe, train_filter
from training.boost.pairs import Pair, make_pairs, psnr_of, read_photographs


@dataclass(frozen=True, slots=True)
class BoostRecipe:
    """A training: ``rates`` pairs of each photograph for the filter, and as many others for the patterns."""

    base: str
    rates: int = 2
    filter: FilterRecipe = field(default_factory=FilterRecipe)
    codebook: CodebookRecipe = field(default_factory=CodebookRecipe)
    seed: int = 1

    def __post_init__(self) -> None:
        find_base(self.base)
        if min(self.rates, self.filter.steps) < 1 or not 2 <= self.codebook.size <= 1024:
            raise ConfigError(
                f"rates are {self.rates}, steps {self.filter.steps}, patterns {self.codebook.size}; "
                "expected 1 or more, 1 or more, 2 to 1024"
            )


# "full" made the packaged models; "smoke" shows in seconds that everything works, and learns nothing of use.
PRESETS = {
    "full": partial(BoostRecipe, filter=FilterRecipe(steps=4000)),
    "smoke": partial(
        BoostRecipe,
        rates=1,
        filter=FilterRecipe(steps=3, warmup=1, batch=2, crop=32),
        codebook=CodebookRecipe(size=8, sample=2000, rounds=2, table_rounds=1),
    ),
}


def train_boost(images: str, recipe: BoostRecipe, output: Path, seconds: float | None = None) -> str:
    """Train, or go on from the checkpoint in the folder ``output``; returns what has happened, in a line.

    Writes ``filter.keras`` (the checkpoint) and, when all is done, ``boost-BASE.npz`` with its card.
    """
    output.mkdir(parents=True, exist_ok=True)
    photographs, base = read_photographs(images), find_base(recipe.base)
    if min(min(pixels.shape[:2]) for pixels in photographs) < recipe.filter.crop:
        raise ConfigError(f"a photograph has a side of less than {recipe.filter.crop} pixels; expected larger ones")

    def make() -> list[Pair]:
        return list(make_pairs(photographs, base, recipe.rates, recipe.seed))

    filter_model, step = train_filter(make, recipe.filter, output / "filter.keras", seconds)
    if step < recipe.filter.steps:
        return f"time limit reached at step {step} of {recipe.filter.steps}: call again to go on"
    weights = [array.astype(np.float16).astype(np.float32) for array in filter_model.get_weights()]
    others = make_pairs(photographs, base, recipe.rates, recipe.seed + 1)
    residuals = find_residuals(others, weights, recipe)
    codebook = train_codebook(residuals, recipe.codebook).astype(np.float16).astype(np.float32)
    model = BoostModel(recipe.base, weights, codebook, train_tables(residuals, codebook, recipe.codebook))
    uri = output / f"boost-{recipe.base}.npz"
    written = write_boost_model(model, str(uri), describe(recipe, len(photographs)))
    return f"finished: {uri}, sha256 {written.sha256}"


def find_residuals(pairs: Any, weights: Sequence[Float32Array], recipe: BoostRecipe) -> list[Residual]:
    """What a filter leaves of the codec's error in each pair, as the encoder will see it."""
    empty = train_tables([], np.zeros((2, 64), np.float32), replace(recipe.codebook, size=2, table_rounds=0))
    model = BoostModel(recipe.base, weights, np.zeros((2, 64), np.float32), empty)
    return [find_residual(pair, model) for pair in pairs]


def find_residual(pair: Pair, model: BoostModel) -> Residual:
    """One picture's blocks after the filter, in units of the noise that the file would tell."""
    height, width = pair.original.shape[:2]
    noise, size = noise_byte(psnr_of(pair.noise)), round(pair.bpp * height * width / 8)
    left = (pair.original - restore(pair.decoded, size, noise, model)) @ LUMA / np.float32(noise_level(noise)[1])
    price = price_of_a_bit(pair.bpp, usual_gain(pair.bpp))
    return Residual(to_blocks(left.astype(np.float32)), price, rate_class(size, height, width))


def describe(recipe: BoostRecipe, photographs: int) -> dict[str, Any]:
    """What the card says."""
    versions = {"keras": keras.__version__, "numpy": np.__version__, "pillow": PIL.__version__}
    return {"recipe": asdict(recipe), "photographs": photographs, "made_with": versions}
