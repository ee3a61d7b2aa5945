"""One picture through the whole scheme: what is decoded, from what, and what happens to broken files."""

import random
import zlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from boosted import draw_picture, make_model
from mutants import damage

from q1net_core.boost import picture
from q1net_core.boost.bases import BASES
from q1net_core.boost.container import CHECKSUM, BoostFile, parse_file
from q1net_core.boost.indices import decode_indices, encode_indices, measure_bits, rate_class
from q1net_core.boost.measures import psnr
from q1net_core.boost.model import BoostModel
from q1net_core.boost.patterns import grid_of, usual_gain
from q1net_core.boost.picture import Boosted, boost, show
from q1net_core.errors import ConfigError, ImageError, WeightsError
from q1net_core.images.decode import Limits
from q1net_core.records import Status

MODEL = make_model()
PIXELS = draw_picture(45, 70)
# The noisy picture at a low quality: waves are left in it.
LEVEL = 8


def indices_of(file: BoostFile, model: BoostModel) -> np.ndarray:
    assert file.indices is not None
    octave = rate_class(len(file.stream), file.height, file.width)
    return decode_indices(file.indices, model.tables, octave, *grid_of(file.height, file.width))


@pytest.fixture
def bits_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that patterns pay in small pictures, whose codec gains much by a few bytes."""
    monkeypatch.setattr(picture, "measure_gain", lambda *arguments: 0.01)


@pytest.fixture
def boosted(bits_are_cheap: None) -> Boosted:
    made = boost(PIXELS, LEVEL, MODEL)
    assert made.indices is not None
    return made


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("size", [(8, 8), (9, 40), (31, 24), (45, 70)])
def test_the_decoder_gets_the_indices_of_the_encoder(base: str, size: tuple[int, int], bits_are_cheap: None) -> None:
    model, pixels = make_model(base), draw_picture(*size)
    made = boost(pixels, BASES[base].trained[0], model)
    assert show(made.file, model).shape == pixels.shape
    if made.indices is not None:
        np.testing.assert_array_equal(indices_of(parse_file(made.file, 10**6), model), made.indices)


def test_the_bytes_are_those_of_the_parts(boosted: Boosted) -> None:
    assert boosted.indices is not None
    ideal = measure_bits(boosted.indices, MODEL.tables, rate_class(len(boosted.stream), 45, 70)) / 8
    side = len(boosted.file) - len(boosted.control)
    assert ideal <= side <= 1.01 * ideal + 4
    assert len(boosted.control) - len(boosted.stream) <= 23


def test_contexts_see_no_pixels(boosted: Boosted) -> None:
    """With another base picture of the same length the indices are the same."""
    file = parse_file(boosted.file, 10**6)
    other = replace(file, stream=bytes(len(file.stream)))
    np.testing.assert_array_equal(indices_of(other, MODEL), boosted.indices)


def test_a_map_of_nothing_is_the_filter_alone(boosted: Boosted) -> None:
    file = parse_file(boosted.control, 10**6)
    octave = rate_class(len(file.stream), 45, 70)
    nothing = encode_indices(np.zeros(grid_of(45, 70), np.intp), MODEL.tables, octave)
    np.testing.assert_array_equal(show(replace(file, indices=nothing).to_bytes(), MODEL), show(boosted.control, MODEL))


def test_without_flags_the_base_is_shown(boosted: Boosted) -> None:
    file = replace(parse_file(boosted.control, 10**6), filtered=False)
    expected = BASES["jpeg"].decode_checked(file.stream, 45, 70)
    np.testing.assert_array_equal(show(file.to_bytes(), MODEL), expected)


def test_a_filter_that_harms_is_left_out() -> None:
    harmful = BoostModel.from_bytes(
        replace(MODEL, filter_weights=[20 * array for array in MODEL.filter_weights]).to_bytes()
    )
    assert not parse_file(boost(PIXELS, 60, harmful).control, 10**6).filtered


def test_patterns_that_do_not_pay_cost_nothing() -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    made = boost(flat, 50, MODEL)
    assert made.indices is None
    assert made.file == made.control


def test_patterns_are_there_only_if_the_codec_gains_less_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = draw_picture(160, 240)
    monkeypatch.setattr(picture, "measure_gain", lambda *arguments: 0.01)
    cheap = boost(pixels, LEVEL, MODEL)
    assert cheap.indices is not None
    gained = psnr(pixels, show(cheap.file, MODEL)) - psnr(pixels, show(cheap.control, MODEL))
    worth = gained / np.log2(len(cheap.file) / len(cheap.control))
    assert worth > 0.01
    monkeypatch.setattr(picture, "measure_gain", lambda *arguments: 1.01 * worth)
    dear = boost(pixels, LEVEL, MODEL)
    if dear.indices is not None:
        gained = psnr(pixels, show(dear.file, MODEL)) - psnr(pixels, show(dear.control, MODEL))
        assert gained > 1.01 * worth * np.log2(len(dear.file) / len(dear.control))
        assert len(dear.file) < len(cheap.file)


def test_a_codecs_gain_is_that_of_its_next_level_in_the_curve() -> None:
    pixels, base = draw_picture(160, 240), BASES["jpeg"]
    sizes, heights = [], []
    for level in (8, 11):
        stream = base.encode(pixels, level)
        sizes.append(len(stream))
        heights.append(psnr(pixels, base.decode_checked(stream, 160, 240)))
    expected = (heights[1] - heights[0]) / np.log2(sizes[1] / sizes[0])
    gain = picture.measure_gain(pixels, 8, sizes[0], heights[0], base)
    assert gain == pytest.approx(np.clip(expected, picture.LEAST_GAIN, picture.MOST_GAIN))
    # Beyond the curve's end it is the last level's, and a flat picture has the usual gain.
    assert picture.LEAST_GAIN <= picture.measure_gain(pixels, 95, 4 * sizes[0], 45.0, base) <= picture.MOST_GAIN
    flat = np.full((64, 64, 3), 128, np.uint8)
    stream = base.encode(flat, 50)
    assert picture.measure_gain(flat, 50, len(stream), 100.0, base) == usual_gain(8 * len(stream) / 64**2)


def test_the_model_is_named_in_the_file(boosted: Boosted) -> None:
    other = make_model(seed=1)
    with pytest.raises(WeightsError) as caught:
        show(boosted.file, other)
    assert MODEL.name.hex() in str(caught.value)
    assert other.name.hex() in str(caught.value)


@pytest.mark.parametrize(("size", "status"), [((7, 40), Status.TOO_SMALL), ((60, 60), Status.TOO_LARGE)])
def test_sizes_out_of_bounds(size: tuple[int, int], status: Status) -> None:
    with pytest.raises(ImageError) as caught:
        boost(draw_picture(*size), LEVEL, MODEL, Limits(max_pixels=3000))
    assert caught.value.status is status


def test_a_level_that_the_codec_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 to 100"):
        boost(PIXELS, 101, MODEL)


def test_a_base_stream_of_another_size_is_corrupt(boosted: Boosted) -> None:
    file = replace(parse_file(boosted.control, 10**6), height=70, width=45)
    with pytest.raises(ImageError, match="header says 45x70") as caught:
        show(file.to_bytes(), MODEL)
    assert caught.value.status is Status.CORRUPT


@pytest.mark.parametrize("base", BASES)
def test_mutated_files_are_pictures_or_errors(base: str, bits_are_cheap: None) -> None:
    """Headers, base streams and indices damaged by seed, most with a checksum that fits."""
    model = make_model(base)
    files = tuple(boost(PIXELS, level, model).file for level in BASES[base].trained)
    limits, ends = Limits(max_pixels=100_000), Counter[str]()
    for seed in range(300):
        draw = random.Random(seed)
        body = bytearray(draw.choice(files)[:-4])
        for _ in range(draw.choice((1, 1, 2, 4))):
            damage(body, draw, files)
        checksum = zlib.crc32(body) if draw.random() < 0.95 else 0
        try:
            shown = show(bytes(body) + CHECKSUM.pack(checksum), model, limits)
            # Sides that are cut together with the base stream are another picture.
            assert shown[..., 0].size <= limits.max_pixels
            ends["picture"] += 1
        except ImageError as error:
            ends[error.status] += 1
        except WeightsError:
            ends["another model"] += 1
    refusals = {Status.CORRUPT, Status.TOO_LARGE, Status.TOO_SMALL, Status.UNSUPPORTED}
    assert ends.keys() <= {"picture", "another model", *refusals}, ends
    assert min(ends["picture"], ends[Status.CORRUPT], ends[Status.UNSUPPORTED], ends["another model"]) > 0, ends
