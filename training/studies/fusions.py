"""`python -m training.studies.fusions`: the fusion rules on validation images, and which patches confidence prefers.

Every image is judged by thresholds and calibrations that were chosen without it.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from q1net_core.errors import ConfigError, WeightsError
from q1net_core.fusion import FUSIONS
from q1net_core.markdown import to_markdown
from q1net_core.metrics import BANDS
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from q1net_core.patches import DEFAULT_PATCHES
from q1net_core.records import Float32Array, UInt8Array
from training.calibration import calibrate_all, choose_rule, fuse_all
from training.data.photographs import load_corpus, validation_set
from training.trainer import CALIBRATION_LEVELS

FEW_PATCHES = 16
# Share of an image's patches that are its most confident ones.
SUREST = 0.1


@dataclass(frozen=True, slots=True)
class Predictions:
    """Patches of every image at every level: ``quality``, ``confidence`` [images * levels, N], ``truth`` the levels."""

    quality: Float32Array
    confidence: Float32Array
    truth: Float32Array

    def of(self, chosen: npt.NDArray[np.bool_]) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Those of some images: quality, confidence, truth."""
        return self.quality[chosen], self.confidence[chosen], self.truth[chosen]


def predict_corpus(model: Predictor, corpus: list[UInt8Array], levels: tuple[int, ...], patches: int) -> Predictions:
    """Every image at every level as the audit sees it, with so many patches."""
    patch_sets, truth = validation_set(corpus, levels, patches)
    predictions = [model.predict(patch_set) for patch_set in patch_sets]
    quality, confidence = (np.stack(values) for values in zip(*predictions, strict=True))
    return Predictions(quality, confidence, truth)


def cross_validate(
    fusion: str, many: Predictions, others: tuple[Predictions, ...], images: int
) -> list[npt.NDArray[np.float64]]:
    """Errors, estimate minus level, of ``many`` and each of ``others`` [images * levels]; NaN without answer.

    Threshold and calibration for every second image are chosen on ``many`` of the rest.
    """
    even = np.repeat(np.arange(images) % 2 == 0, len(many.truth) // images)
    errors = [np.empty(len(many.truth)) for _ in (many, *others)]
    for half in (even, ~even):
        rule = choose_rule(fusion, *many.of(~half)).rule
        for predictions, found in zip((many, *others), errors, strict=True):
            quality, confidence, truth = predictions.of(half)
            fused = fuse_all(fusion, rule.threshold, quality, confidence)
            found[half] = calibrate_all(fused, rule.calibration) - truth
    return errors


def compare_rules(many: Predictions, few: Predictions, images: int) -> str:
    """A Markdown table of all rules of FUSIONS: errors with many patches and with few, and how often they answer."""
    header = (
        "fusion", "MAE", "SDE", "answered %", f"MAE, {FEW_PATCHES} patches", "ratio", f"answered %, {FEW_PATCHES}",
    )  # fmt: skip
    cells = []
    for fusion in FUSIONS:
        errors = [np.abs(found) for found in cross_validate(fusion, many, (few,), images)]
        (mae, mae_few), (answered, answered_few) = (
            [float(np.nanmean(found)) for found in errors],
            [100 * float(np.isfinite(found).mean()) for found in errors],
        )
        with_many = (f"{mae:.3f}", f"{np.nanstd(errors[0]):.3f}", f"{answered:.1f}")
        with_few = (f"{mae_few:.3f}", f"{mae_few / mae:.2f}", f"{answered_few:.1f}")
        cells.append((f"`{fusion}`", *with_many, *with_few))
    return to_markdown(header, cells)


def correlation(quality: Float32Array, confidence: Float32Array) -> float:
    """Of the patches of one image, -1 to 1; NaN where they are all alike."""
    return float(np.corrcoef(quality, confidence)[0, 1]) if quality.std() and confidence.std() else float("nan")


def describe_confidence(predictions: Predictions) -> str:
    """A Markdown table by band of levels: whom confidence prefers among the patches of one image.

    The bias is the mean of the images' median errors; correlation is of confidence with predicted quality.
    """
    errors = predictions.quality - predictions.truth[:, None]
    surest = np.argsort(-predictions.confidence, axis=1, kind="stable")[:, : max(1, int(SUREST * errors.shape[1]))]
    bias, bias_surest = np.median(errors, axis=1), np.median(np.take_along_axis(errors, surest, axis=1), axis=1)
    correlations = np.array(list(map(correlation, predictions.quality, predictions.confidence)))
    header = ("levels", "patch MAE", "expected", "bias", f"bias, surest {SUREST:.0%}", "correlation")
    cells = []
    for low, high in BANDS:
        band = (low <= predictions.truth) & (predictions.truth <= high)
        if not band.any():
            continue
        means = (bias[band].mean(), bias_surest[band].mean(), np.nanmean(correlations[band]))
        error, expected = np.abs(errors[band]).mean(), 100 - predictions.confidence[band].mean()
        cells.append((f"{low}-{high}", f"{error:.2f}", f"{expected:.2f}", *(f"{mean:+.2f}" for mean in means)))
    return to_markdown(header, cells)


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.fusions", description=__doc__)
    parser.add_argument("--images", required=True, metavar="URI", help="lossless validation images, two at least")
    parser.add_argument("--weights", default="q1net-k8", help="variant or .keras file (default: %(default)s)")
    return parser


def run(argv: list[str]) -> int:
    """Print both tables; returns the exit status."""
    parser = make_parser()
    options = parser.parse_args(argv)
    try:
        model, corpus = Predictor(read_weights(options.weights)), load_corpus(options.images)
        if len(corpus) < 2:
            raise ConfigError(
                f"--images {options.images!r} matches one image; expected two or more, to judge by others"
            )
        many, few = (
            predict_corpus(model, corpus, CALIBRATION_LEVELS, patches) for patches in (DEFAULT_PATCHES, FEW_PATCHES)
        )
    except (ConfigError, WeightsError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(f"{compare_rules(many, few, len(corpus))}\n\n{describe_confidence(many)}")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
