import numpy as np
import pytest
from boosted import draw_picture

from q1net_core.boost.bases import BASES, find_base
from q1net_core.boost.measures import psnr
from q1net_core.errors import ConfigError, ImageError
from q1net_core.records import Status


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("size", [(8, 8), (33, 47), (96, 80)])
def test_a_base_gives_bytes_and_a_picture_of_the_same_size(name: str, size: tuple[int, int]) -> None:
    base, pixels = BASES[name], draw_picture(*size)
    worst, best = (base.encode(pixels, level) for level in (base.trained[0], base.levels[-1]))
    decoded = base.decode_checked(best, *size)
    assert decoded.shape == (*size, 3)
    # Of 8x8 pixels nearly all is header, whatever the level.
    gain = psnr(pixels, decoded) - psnr(pixels, base.decode_checked(worst, *size))
    assert gain > 0 or (size == (8, 8) and gain == 0)


@pytest.mark.parametrize("name", BASES)
def test_levels_are_the_worst_first(name: str) -> None:
    base, pixels = BASES[name], draw_picture(96, 80)
    assert set(base.curve) | set(base.trained) <= set(base.levels)
    sizes = [len(base.encode(pixels, level)) for level in base.curve[::3]]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("name", BASES)
def test_a_stream_of_another_size_or_of_noise_is_corrupt(name: str) -> None:
    base = BASES[name]
    encoded = base.encode(draw_picture(96, 80), base.trained[0])
    for stream, size in [(encoded, (80, 96)), (encoded, (72, 80)), (encoded[:30], (96, 80)), (b"noise" * 9, (96, 80))]:
        with pytest.raises(ImageError) as caught:
            base.decode_checked(stream, *size)
        assert caught.value.status in (Status.CORRUPT, Status.TOO_LARGE, Status.UNSUPPORTED)


def test_a_stream_of_another_codec_is_corrupt() -> None:
    encoded = BASES["jpeg"].encode(draw_picture(32, 32), 50)
    with pytest.raises(ImageError, match="expected JPEG2000"):
        BASES["jpeg2000"].decode_checked(encoded, 32, 32)


def test_jpeg2000_has_its_colour_transform_on_and_no_boxes() -> None:
    encoded = BASES["jpeg2000"].encode(draw_picture(64, 64), 500)
    assert encoded[:4] == b"\xff\x4f\xff\x51"
    # COD: marker, length, style, progression, layers (2 bytes), multiple component transformation.
    assert encoded[encoded.index(b"\xff\x52") + 8] == 1


def test_hevc_has_no_text_in_it() -> None:
    assert b"x265" not in BASES["hevc"].encode(draw_picture(64, 64), 30)


def test_an_unknown_base_is_refused() -> None:
    with pytest.raises(ConfigError, match="jpeg2000"):
        find_base("gif")


def test_every_base_has_its_own_number() -> None:
    assert len({base.code for base in BASES.values()}) == len(BASES)
    assert np.all([1 <= base.code <= 255 for base in BASES.values()])
