"""The table of codecs: what holds for every one of them."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from q1net_core.arrays import UInt8Array
from q1net_core.codecs.jpeg import SAMPLINGS
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ConfigError, ImageError
from q1net_core.records import Status

PHOTOGRAPH = Path(__file__).parents[2] / "photographs" / "camera" / "airplane.png"
# The codecs whose windows can be compressed on their own, and those that need the whole image.
CUTTING = [name for name, codec in CODECS.items() if codec.geometry]
WHOLE = [name for name, codec in CODECS.items() if not codec.geometry]


@pytest.fixture(scope="module")
def photograph() -> UInt8Array:
    return np.asarray(Image.open(PHOTOGRAPH))


def test_all_codecs_of_jpeg_cut_and_no_others() -> None:
    assert set(CUTTING) == {name for name in CODECS if name.startswith("jpeg")} - {"jpeg2000"}
    assert {CODECS[name].geometry for name in CUTTING} == set(SAMPLINGS.values())


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_keeps_the_shape_and_gets_better_with_level(name: str, photograph: UInt8Array) -> None:
    codec, picture = CODECS[name], photograph[96:233, 128:301]
    # What no level can lose is left out of the comparison.
    ideal = np.asarray(Image.fromarray(picture).convert("L" if name == "jpeg-grey" else "RGB").convert("RGB"), float)
    errors = []
    for index in (0, len(codec.levels) // 4, len(codec.levels) // 2, len(codec.levels) * 3 // 4, -1):
        compressed = codec.compress(picture, codec.levels[index])
        assert compressed.shape == picture.shape
        assert compressed.dtype == np.uint8
        assert np.array_equal(compressed, codec.compress(picture, codec.levels[index]))
        errors.append(np.abs(compressed - ideal).mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 2.5 * errors[-1] > 0
    assert errors[-1] < 1.6


@pytest.mark.parametrize("name", WHOLE)
def test_images_compressed_side_by_side_do_not_change_each_other(name: str, photograph: UInt8Array) -> None:
    codec, pictures = CODECS[name], [photograph[top : top + 50, 99:160] for top in range(0, 300, 50)]
    level = codec.levels[len(codec.levels) // 2]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda picture: codec.compress(picture, level), pictures))
    assert np.array_equal(together, [codec.compress(picture, level) for picture in pictures])


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 40), (31, 33)])
def test_every_codec_takes_pictures_of_any_size(name: str, shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 80, np.uint8)
    compressed = CODECS[name].compress(picture, CODECS[name].levels[-1])
    assert compressed.shape == picture.shape
    assert np.abs(compressed.astype(int) - 80).max() <= 3


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_knows_its_levels_and_its_libraries(name: str) -> None:
    codec = CODECS[name]
    assert len(set(codec.levels)) == len(codec.levels) >= 10
    assert all(level >= 0 for level in codec.levels)
    for level in (min(codec.levels) - 1, max(codec.levels) + 1):
        with pytest.raises(ConfigError, match=rf"levels \[{level}\] do not exist; expected some of "):
            codec.compress(np.zeros((16, 16, 3), np.uint8), level)
    with pytest.raises(ConfigError, match="no levels; expected some of"):
        codec.check_levels([])
    assert all(version[0].isdigit() for version in codec.versions().values())


@pytest.mark.parametrize("name", WHOLE)
def test_every_codec_takes_sides_up_to_its_limit_and_names_it_beyond(name: str) -> None:
    codec = CODECS[name]
    for shape in ((1, codec.max_side, 3), (codec.max_side, 1, 3)):
        assert codec.compress(np.full(shape, 90, np.uint8), codec.levels[0]).shape == shape
    with pytest.raises(ImageError, match=f"the codec takes at most {codec.max_side} a side") as caught:
        codec.compress(np.zeros((1, codec.max_side + 1, 3), np.uint8), codec.levels[0])
    assert caught.value.status is Status.TOO_LARGE


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.features.version", lambda _: None)
    with pytest.raises(ConfigError, match=r"Pillow [\d.]+ was built without avif; install"):
        CODECS["avif"].versions()
    monkeypatch.setitem(sys.modules, "av", None)
    for call in (CODECS["h264"].versions, lambda: CODECS["hevc"].compress(np.zeros((16, 16, 3), np.uint8), 20)):
        with pytest.raises(ConfigError, match=r"PyAV, which is not installed; pip install '\.\[video\]'"):
            call()
