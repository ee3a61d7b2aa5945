import pytest
from image_files import OPAQUE_FORMATS, failure, ordinary

from q1net_core.images.sniff import sniff_format
from q1net_core.records import Status


def test_only_the_content_tells_the_format() -> None:
    # There is no name to go by: each file is told by its first bytes, even with another format's bytes behind.
    for format in OPAQUE_FORMATS:
        assert sniff_format(ordinary(format)) == format
        assert sniff_format(ordinary(format) + ordinary("PNG")) == format


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        (b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>", "an HTML page"),
        (b"\xef\xbb\xbf  <HTML>", "an HTML page"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document"),
        (b"%PDF-1.7", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS"),
        (b"\xc5\xd0\xd3\xc6" + bytes(30), "EPS"),
        (b"8BPS\0\1" + bytes(30), "PSD"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "video"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "RIFF"),
        (b'{"error": "caf\xc3\xa9"}', "text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "text"),
        (bytes(5000), "zero bytes"),
        (b"\x93\x12\xfe\x00", "not recognised"),
    ],
)
def test_other_content_is_unsupported_and_named(encoded: bytes, words: str) -> None:
    error = failure(encoded)
    assert error.status is Status.UNSUPPORTED
    assert words in str(error)
    assert "expected one of JPEG, PNG" in str(error)
