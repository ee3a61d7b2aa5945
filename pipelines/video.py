"""Video files in `q1net predict`: key frames, and the CRF or QP that a network of their codec sees in each."""

from collections.abc import Iterator

from pipelines.audit.table import Row
from q1net_core import storage
from q1net_core.codecs.frames import KeyFrame, read_key_frames
from q1net_core.codecs.video import ENCODERS
from q1net_core.errors import ConfigError, ImageError
from q1net_core.estimator import PatchModel
from q1net_core.fusion import estimate_quality
from q1net_core.network.weights import WeightsFile, read_weights
from q1net_core.records import FusionRule, ListedImage, Status
from q1net_core.sampling import sample
from q1net_core.settings import EstimatorSettings


def read_video_weights(settings: EstimatorSettings) -> tuple[WeightsFile, FusionRule]:
    """The weights that judge frames, and their fusion rule.

    Raises:
        ConfigError: none were named.
        WeightsError: they estimate no level of a video codec.
    """
    if settings.weights is None:
        raise ConfigError("--frames is for video files; expected weights for their codec: --weights FILE.keras")
    weights = read_weights(settings.weights, tuple(ENCODERS))
    return weights, settings.rule_of(weights)


def judge_frame(frame: KeyFrame, model: PatchModel, weights: WeightsFile, rule: FusionRule, patches: int) -> Row:
    """What the network says of one frame; raises ImageError if it is too small."""
    seen = sample(frame.pixels, weights.network.input, patches)
    estimate = estimate_quality(*model.predict(seen), rule)
    return {
        "frame": frame.number,
        "seconds": frame.seconds,
        "scale": weights.network.scale,
        "level": estimate.quality,
        "confidence": estimate.confidence,
        "patches": estimate.patches,
        "patches_used": estimate.patches_used,
    }


def judge_video(
    file: ListedImage,
    model: PatchModel,
    weights: WeightsFile,
    rule: FusionRule,
    settings: EstimatorSettings,
    count: int,
) -> Iterator[Row]:
    """A row for each of up to ``count`` key frames of a video file, or one that says why there is none."""
    about = {"uri": file.uri, "variant": weights.variant, "weights_sha256": weights.sha256}
    try:
        codec, frames = read_key_frames(storage.read_bytes(file.uri, settings.max_bytes), count)
        expected = ENCODERS[weights.card.codec].decoder
        if codec != expected:
            raise ImageError(
                Status.UNSUPPORTED, f"the video is {codec}; {weights.variant} estimates levels of {expected} alone"
            )
        rows = [judge_frame(frame, model, weights, rule, settings.most_patches) for frame in frames]
    except ImageError as error:
        yield about | {"status": error.status, "error": error.message}
        return
    yield from (about | {"codec": codec, "status": Status.OK, "error": None} | row for row in rows)


def to_line(row: Row) -> str:
    """``uri, key frame N at S s: scale L``, or why there is none."""
    if row["status"] != Status.OK:
        return f"{row['uri']}: {row['status']}: {row['error']}"
    where = f"{row['uri']}, key frame {row['frame']} at {row['seconds']:.2f} s"
    if row["level"] is None:
        return f"{where}: no estimate: none of {row['patches']} patches is confident"
    return f"{where}: {row['scale']} {row['level']:.1f} ({row['codec']}, confidence {row['confidence']:.1f})"
