"""The reference estimate of one image: each failure becomes a record, and batches split back by image."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from q1net_core.errors import WeightsError
from q1net_core.estimator import (
    choose_grid,
    estimate_image,
    fuse_predictions,
    load_network,
    predict_patches,
    predict_together,
    read_image,
    sample_image,
)
from q1net_core.images.decode import Limits
from q1net_core.network.predictor import Predictor
from q1net_core.patches import cut_patches, first_blocks, sample_patches
from q1net_core.records import (
    Answer,
    Estimate,
    Float32Array,
    FusionRule,
    ImageInfo,
    ImagePatches,
    ImageRecord,
    IntervalTable,
    LatticeEstimate,
    ListedImage,
    PatchPredictions,
    Status,
    Stop,
    UInt8Array,
)
from q1net_core.sampling import PATCHES
from q1net_core.settings import CLEAN_WEIGHTS, ROBUST_WEIGHTS, EstimatorSettings, PinnedWeights

PHOTOGRAPHS = Path(__file__).parents[1] / "photographs"
SETTINGS = EstimatorSettings(patches=16)
RULE = FusionRule("paper", 50.0)
WEIGHTS = {
    source: PinnedWeights(source, source, f"sha256 of {source}", PATCHES, RULE)
    for source in (CLEAN_WEIGHTS, ROBUST_WEIGHTS)
}
CLEAN = WEIGHTS[CLEAN_WEIGHTS]


class FakeModel:
    """Quality is a patch's mean value, confidence is 40 plus its first red value; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def predict(self, patches: UInt8Array) -> tuple[Float32Array, Float32Array]:
        self.calls += 1
        quality = patches.mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)
        return quality, np.minimum(40 + patches[:, 0, 0, 0].astype(np.float32), 100)


def judge(path: Path, settings: EstimatorSettings = SETTINGS, model: FakeModel | None = None) -> ImageRecord:
    """The record of a file by a fake network."""
    fake = FakeModel() if model is None else model
    return estimate_image(ListedImage(str(path)), settings, WEIGHTS, lambda weights: fake)


def encode(width: int = 64, height: int = 48, kind: str = "JPEG", value: int = 90) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (width, height), (value, value, value)).save(buffer, kind)
    return buffer.getvalue()


def estimate(content: bytes | None, folder: Path, settings: EstimatorSettings = SETTINGS) -> ImageRecord:
    path = folder / "image.bin"
    if content is not None:
        path.write_bytes(content)
    return judge(path, settings)


def make_patches(uri: str, values: list[int]) -> ImagePatches:
    patches = np.repeat(np.uint8(values), 16 * 16 * 3).reshape(-1, 16, 16, 3)
    return ImagePatches(ListedImage(uri), ImageInfo(width=len(values)), LatticeEstimate(), patches)


def test_photograph_gets_the_estimate_of_its_patches() -> None:
    path = PHOTOGRAPHS / "camera" / "lighthouse.jpg"
    record = judge(path)
    patches = sample_patches(np.asarray(Image.open(path)), 16)
    quality, confidence = FakeModel().predict(patches)
    assert (record.status, record.error) == (Status.OK, None)
    assert record.image == ListedImage(str(path), size_bytes=path.stat().st_size)
    assert record.info.header.quality == 85
    assert (record.info.width, record.info.height, record.info.format, record.info.mode) == (768, 512, "JPEG", "RGB")
    assert record.network.patches == 16
    assert record.network.quality == pytest.approx(np.median(quality[confidence > 50]))


def test_the_lattice_chooses_the_grid_of_the_patches() -> None:
    path = PHOTOGRAPHS / "messenger" / "chalet.png"
    sampled = sample_image(ListedImage(str(path)), path.read_bytes(), SETTINGS)
    assert (sampled.lattice.quality, sampled.lattice.grid) == (50, (5, 3))
    pixels = np.asarray(Image.open(path))
    assert np.array_equal(sampled.patches, sample_patches(pixels, 16, (5, 3)))
    alone = sample_image(ListedImage(str(path)), path.read_bytes(), replace(SETTINGS, estimators=("q1net",)))
    assert alone.lattice == LatticeEstimate()
    assert np.array_equal(alone.patches, sample_patches(pixels, 16))


def test_auto_is_as_many_patches_as_it_takes_in_spread_order(tmp_path: Path) -> None:
    path = PHOTOGRAPHS / "camera" / "lighthouse.jpg"
    auto = EstimatorSettings()
    sampled = sample_image(ListedImage(str(path)), path.read_bytes(), auto)
    pixels = np.asarray(Image.open(path))
    assert np.array_equal(sampled.patches, cut_patches(pixels, first_blocks(*pixels.shape[:2], 256, 256)))
    assert sorted(map(bytes, sampled.patches)) == sorted(map(bytes, sample_patches(pixels, 256)))
    record = judge(path, auto)
    assert (record.network.patches, record.network.stop) == (256, Stop.ALL)

    class Agreeing(FakeModel):
        def predict(self, patches: UInt8Array) -> tuple[Float32Array, Float32Array]:
            return np.full(len(patches), 85, np.float32), np.full(len(patches), 99, np.float32)

    early, full = judge(path, auto, Agreeing()), judge(path, EstimatorSettings(patches=256), Agreeing())
    assert (early.network.patches, early.network.stop) == (16, Stop.AGREES)
    assert (full.network.patches, full.network.stop) == (256, Stop.ALL)
    assert (early.answer, early.verdict) == (full.answer, full.verdict)


@pytest.mark.parametrize(
    ("found", "height", "width", "expected"),
    [
        ((5, 3), 64, 64, (5, 3)),
        (None, 64, 64, (0, 0)),
        # Above phase 0 the only patch that fits is not on the found grid.
        ((3, 3), 20, 20, (0, 0)),
        ((4, 4), 20, 20, (4, 4)),
    ],
)
def test_the_grid_of_the_patches_leaves_room_for_one(
    found: tuple[int, int] | None, height: int, width: int, expected: tuple[int, int]
) -> None:
    assert choose_grid(found, height, width) == expected


def test_where_q1net_is_not_wanted_the_record_is_finished_without_it() -> None:
    path = PHOTOGRAPHS / "camera" / "lighthouse.jpg"
    settings = replace(SETTINGS, estimators=("lattice",))
    record = sample_image(ListedImage(str(path)), path.read_bytes(), settings)
    assert isinstance(record, ImageRecord)
    assert (record.status, record.network, record.lattice.quality) == (Status.OK, None, 85)
    model = FakeModel()
    assert judge(path, settings, model) == record
    assert model.calls == 0


@pytest.mark.parametrize(("name", "calls"), [("camera/lighthouse.jpg", 0), ("camera/airplane.png", 1)])
def test_in_a_cascade_q1net_is_asked_only_where_the_lattice_abstains(name: str, calls: int) -> None:
    model = FakeModel()
    record = judge(PHOTOGRAPHS / name, replace(SETTINGS, cascade=True), model)
    assert model.calls == calls
    both = judge(PHOTOGRAPHS / name)
    assert record == (replace(both, network=None) if calls == 0 else both)


@pytest.mark.parametrize("estimators", [("lattice",), ("q1net",), ("lattice", "q1net")])
def test_the_same_images_are_too_small_whatever_runs(estimators: tuple[str, ...], tmp_path: Path) -> None:
    settings = replace(SETTINGS, estimators=estimators)
    assert estimate(encode(19, 30, "PNG"), tmp_path, settings).status is Status.TOO_SMALL
    assert estimate(encode(20, 20, "PNG"), tmp_path, settings).status is Status.OK


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_the_lattice_of_planes_that_were_coded_each_by_itself(mode: str, tmp_path: Path) -> None:
    buffer = BytesIO()
    picture = Image.open(PHOTOGRAPHS / "camera" / "airplane.png").convert(mode)
    picture.save(buffer, "JPEG", quality=70, keep_rgb=True)
    record = estimate(buffer.getvalue(), tmp_path)
    assert (record.info.mode, record.lattice.quality, record.lattice.grid) == (mode, 70, (0, 0))


def test_file_that_is_gone_is_missing(tmp_path: Path) -> None:
    record = estimate(None, tmp_path)
    assert (record.status, record.network) == (Status.MISSING, None)
    assert "image.bin" in record.error


def test_folder_is_unreadable(tmp_path: Path) -> None:
    record = judge(tmp_path)
    assert (record.status, record.info) == (Status.UNREADABLE, ImageInfo())


def test_empty_file_is_empty_and_has_size_zero(tmp_path: Path) -> None:
    record = estimate(b"", tmp_path)
    assert (record.status, record.image.size_bytes) == (Status.EMPTY, 0)


def test_other_content_is_unsupported(tmp_path: Path) -> None:
    record = estimate(b"%PDF-1.7 and so on", tmp_path)
    assert (record.status, record.info, record.image.size_bytes) == (Status.UNSUPPORTED, ImageInfo(), 18)


def test_truncated_jpeg_is_corrupt_and_keeps_its_header(tmp_path: Path) -> None:
    content = (PHOTOGRAPHS / "messenger" / "motocross.jpg").read_bytes()
    record = estimate(content[: len(content) // 2], tmp_path)
    assert (record.status, record.network) == (Status.CORRUPT, None)
    assert (record.info.width, record.info.height, record.info.format) == (768, 512, "JPEG")
    assert (record.info.header.quality, record.info.header.subsampling) == (35, "4:2:0")
    assert record.info.mode is None


def test_small_image_keeps_all_that_is_known_of_it(tmp_path: Path) -> None:
    record = estimate(encode(19, 30, "PNG"), tmp_path)
    assert record.status is Status.TOO_SMALL
    assert record.info == ImageInfo(19, 30, "PNG", "RGB", header=None)
    assert "19 x 30" in record.error


def test_too_many_pixels_keep_the_header(tmp_path: Path) -> None:
    settings = replace(SETTINGS, max_pixels=1000)
    record = estimate(encode(64, 48), tmp_path, settings)
    assert (record.status, record.info.width, record.info.header.quality) == (Status.TOO_LARGE, 64, 75)


def test_too_many_bytes_are_not_read(tmp_path: Path) -> None:
    listed = ListedImage(str(tmp_path / "never looked for"), size_bytes=1001)
    record = read_image(listed, Limits(max_bytes=1000))
    assert (record.status, record.image) == (Status.TOO_LARGE, listed)
    assert "1001 bytes; the limit is 1000" in record.error


def test_too_many_bytes_that_the_store_did_not_tell_are_too_large(tmp_path: Path) -> None:
    settings = replace(SETTINGS, max_bytes=100)
    assert estimate(encode(), tmp_path, settings).status is Status.TOO_LARGE


def test_size_from_the_store_is_kept() -> None:
    encoded = encode()
    sampled = sample_image(ListedImage("a", size_bytes=5, version="v", group="g"), encoded, SETTINGS)
    assert sampled.image == ListedImage("a", size_bytes=5, version="v", group="g")
    assert sample_image(ListedImage("a"), encoded, SETTINGS).image.size_bytes == len(encoded)


@pytest.mark.parametrize(("predict", "calls"), [(predict_patches, 3), (predict_together, 1)])
def test_predictions_split_back_by_image(predict: Any, calls: int) -> None:
    model = FakeModel()
    batch = [make_patches("a", [1, 2, 3]), make_patches("b", [4]), make_patches("c", [5, 6, 7, 8, 9])]
    predicted = predict(model, batch)
    assert model.calls == calls
    assert [item.image.uri for item in predicted] == ["a", "b", "c"]
    assert [item.info.width for item in predicted] == [3, 1, 5]
    assert [item.quality.tolist() for item in predicted] == [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    assert [item.confidence.tolist() for item in predicted] == [[41, 42, 43], [44], [45, 46, 47, 48, 49]]
    assert predict(model, []) == []


def test_images_of_several_sizes_are_no_one_call() -> None:
    model = FakeModel()
    batch = [replace(make_patches("a", [1]), patches=np.full((1, side, 9, 3), side, np.uint8)) for side in (7, 8, 7)]
    assert [item.quality.tolist() for item in predict_together(model, batch)] == [[7], [8], [7]]
    assert model.calls == 3


def test_no_confident_patch_is_ok_without_an_estimate() -> None:
    low = np.full(4, 50, np.float32)
    record = fuse_predictions(PatchPredictions(ListedImage("a"), ImageInfo(), LatticeEstimate(), low, low), CLEAN)
    assert (record.status, record.answer) == (Status.OK, Answer())
    assert record.network == Estimate(
        None, None, None, patches=4, patches_used=0, variant=CLEAN.variant, weights_sha256=CLEAN.sha256, stop=Stop.ALL
    )


def test_an_estimate_is_calibrated_and_has_its_interval() -> None:
    table = IntervalTable(4, (), ((),), ((-5.0,),), ((7.0,),))
    rule = replace(RULE, calibration=((0.0, 0.0), (50.0, 60.0), (100.0, 100.0)), intervals=(table,))
    quality, confidence = np.full(4, 50, np.float32), np.full(4, 90, np.float32)
    predictions = PatchPredictions(ListedImage("a"), ImageInfo(), LatticeEstimate(), quality, confidence)
    record = fuse_predictions(predictions, replace(CLEAN, rule=rule))
    assert record.answer == Answer(60.0, "q1net", 55.0, 67.0)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("camera/lighthouse.jpg", {}, CLEAN_WEIGHTS),
        ("camera/airplane.png", {}, ROBUST_WEIGHTS),
        ("camera/lighthouse.jpg", {"weights": ROBUST_WEIGHTS}, ROBUST_WEIGHTS),
        ("camera/airplane.png", {"weights": CLEAN_WEIGHTS}, CLEAN_WEIGHTS),
        ("camera/airplane.png", {"estimators": ("q1net",)}, CLEAN_WEIGHTS),
        ("camera/airplane.png", {"cascade": True}, ROBUST_WEIGHTS),
        ("camera/lighthouse.jpg", {"cascade": True}, None),
    ],
)
def test_the_lattice_chooses_the_weights_that_judge(name: str, changes: dict[str, Any], expected: str | None) -> None:
    asked: list[str] = []

    def load(weights: PinnedWeights) -> FakeModel:
        asked.append(weights.source)
        return FakeModel()

    record = estimate_image(ListedImage(str(PHOTOGRAPHS / name)), replace(SETTINGS, **changes), WEIGHTS, load)
    assert asked == ([] if expected is None else [expected])
    assert (record.network and record.network.variant) == expected
    assert (record.network and record.network.weights_sha256) == (expected and WEIGHTS[expected].sha256)


def test_a_network_is_loaded_once_and_must_be_the_pinned_one(weights_uri: str) -> None:
    settings = EstimatorSettings(weights=weights_uri)
    pinned = settings.pin_all(settings.read_weights())[weights_uri]
    network = load_network(pinned)
    assert isinstance(network, Predictor)
    assert load_network(replace(pinned)) is network
    with pytest.raises(WeightsError, match=f"have sha256 {pinned.sha256} on this worker; .* was started with 00"):
        load_network(replace(pinned, sha256="00"))
