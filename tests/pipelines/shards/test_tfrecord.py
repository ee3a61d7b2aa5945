"""Bytes of TFRecords, checked by hand; TensorFlow reads a whole file in test_command.py."""

from pipelines.shards.tfrecord import encode_example, frame


def test_an_example_is_framed_and_encoded_by_hand() -> None:
    example = encode_example(["a", "b"], (b"\x01\x02", -1))
    a = b"\x0a\x0b\x0a\x01a\x12\x06\x0a\x04\x0a\x02\x01\x02"
    b = b"\x0a\x13\x0a\x01b\x12\x0e\x1a\x0c\x0a\x0a" + b"\xff" * 9 + b"\x01"
    assert example == b"\x0a\x22" + a + b
    assert frame(b"")[:12] == bytes(8) + (frame(b"")[8:12])
    assert len(frame(example)) == len(example) + 16
