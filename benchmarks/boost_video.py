"""Key frames of H.264 clips under a cap on the bit rate, boosted like pictures, at equal rate of the whole clip.

python benchmarks/boost_video.py --model jpeg2000 --images kodak/ --levels 60,100,160,250,400

A clip is a window that moves over a photograph. The model was trained behind another codec: none is for H.264.
"""

import argparse
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from pipelines.runtime.options import parse_levels
from pipelines.runtime.quiet import start_quietly
from q1net_core.alterations import round_pixels
from q1net_core.arrays import UInt8Array
from q1net_core.boost.container import noise_byte
from q1net_core.boost.indices import encode_indices, rate_class
from q1net_core.boost.measures import Curve, psnr
from q1net_core.boost.model import BoostModel, read_boost_model
from q1net_core.boost.patterns import price_of_a_bit, usual_gain
from q1net_core.boost.picture import add_patterns, find_patterns, restore
from q1net_core.codecs.video import exact_colours, import_av, to_pixels
from training.boost.pairs import read_photographs

FRAMES, RATE, GROUP = 24, 25, 12
SIDE, STEP = 352, 4
# What a key frame needs beside its indices: flags, noise, length of the indices.
HEADER = 4
DESIGNS = ("codec", "filter", "patterns")


def make_clip(photograph: UInt8Array) -> list[UInt8Array]:
    """A window that moves down and right by ``STEP`` pixels a frame, uint8 [SIDE, SIDE, 3] each."""
    starts = range(0, FRAMES * STEP, STEP)
    return [np.ascontiguousarray(photograph[at : at + SIDE, at : at + SIDE]) for at in starts]


def encode_clip(frames: list[UInt8Array], cap: int) -> list[bytes]:
    """Frames -> packets of H.264 with at most ``cap`` kbit/s, a key frame every ``GROUP`` frames, no B frames."""
    av = import_av()
    writer = av.CodecContext.create("libx264", "w")
    writer.width, writer.height, writer.pix_fmt, writer.time_base = SIDE, SIDE, "yuv420p", Fraction(1, RATE)
    writer.thread_count, writer.bit_rate, writer.gop_size = 1, 1000 * cap, GROUP
    rate, settings = str(1000 * cap), f"keyint={GROUP}:scenecut=0:bframes=0"
    writer.options = {"maxrate": rate, "bufsize": rate, "tune": "psnr", "x264-params": settings}
    packets = []
    for number, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(
            format="yuv420p", dst_colorspace=1, dst_color_range=1, **exact_colours()
        )
        frame.pts = number
        packets += writer.encode(frame)
    return [bytes(packet) for packet in [*packets, *writer.encode(None)]]


def decode_clip(packets: list[bytes]) -> Iterator[tuple[UInt8Array, bool]]:
    """Packets -> frames, each with whether it is a key frame."""
    av = import_av()
    reader = av.CodecContext.create("h264", "r")
    for packet in [*map(av.Packet, packets), None]:
        for frame in reader.decode(packet):
            yield to_pixels(frame), frame.key_frame


def boost_frame(
    original: UInt8Array, decoded: UInt8Array, size: int, model: BoostModel
) -> dict[str, tuple[float, int]]:
    """A key frame's PSNR by design, with the bytes that the design needs."""
    noise = noise_byte(psnr(original, decoded))
    restored = restore(decoded, size, noise, model)
    plain, filtered = psnr(original, decoded), psnr(original, round_pixels(restored))
    if filtered <= plain:
        restored, filtered = decoded.astype(np.float32), plain
    results = {"codec": (plain, 0), "filter": (filtered, HEADER), "patterns": (filtered, HEADER)}
    bpp = 8 * size / (SIDE * SIDE)
    indices = find_patterns(original, restored, size, noise, model, price_of_a_bit(bpp, usual_gain(bpp)))
    if indices is not None:
        shown = round_pixels(add_patterns(restored, indices, noise, model))
        coded = encode_indices(indices, model.tables, rate_class(size, SIDE, SIDE))
        results["patterns"] = psnr(original, shown), HEADER + len(coded)
    return results


def measure_clip(frames: list[UInt8Array], cap: int, model: BoostModel) -> dict[str, tuple[float, float]]:
    """By design: kbit/s of the whole clip, and the mean PSNR of its key frames."""
    packets = encode_clip(frames, cap)
    shown = zip(frames, packets, decode_clip(packets), strict=True)
    boosted = [boost_frame(frame, decoded, len(packet), model) for frame, packet, (decoded, key) in shown if key]
    total, seconds = sum(map(len, packets)), FRAMES / RATE
    results = {}
    for design in DESIGNS:
        qualities, sizes = zip(*(frame[design] for frame in boosted), strict=True)
        results[design] = (8 * (total + sum(sizes)) / 1000 / seconds, float(np.mean(qualities)))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="lossless photographs of at least 444 pixels a side")
    parser.add_argument("--model", required=True, help="an .npz file, or a packaged model")
    parser.add_argument("--levels", type=parse_levels, required=True, help="caps in kbit/s, by commas")
    options = parser.parse_args()
    start_quietly()
    model = read_boost_model(options.model)
    clips = [
        {cap: measure_clip(make_clip(photograph), cap, model) for cap in options.levels}
        for photograph in read_photographs(options.images)
    ]
    curves = [Curve.through([results["codec"] for results in clip.values()]) for clip in clips]
    print(f"{len(clips)} clips; key frames: gain in dB at equal rate of the clip")
    print("cap   kbit/s    dB  filter patterns  patterns over filter")
    for cap in options.levels:
        rate, quality = np.mean([clip[cap]["codec"] for clip in clips], axis=0)
        gains = {
            design: [
                clip[cap][design][1] - at
                for clip, curve in zip(clips, curves, strict=True)
                if (at := curve.quality_at(clip[cap][design][0])) is not None
            ]
            for design in DESIGNS[1:]
        }
        if all(gains.values()):
            means = [float(np.mean(gain)) for gain in gains.values()]
            print(f"{cap:<5}{rate:7.0f} {quality:6.2f} {means[0]:+7.3f} {means[1]:+8.3f} {means[1] - means[0]:+8.3f}")
        else:
            print(f"{cap:<5}{rate:7.0f} {quality:6.2f}       -        -        -")


if __name__ == "__main__":
    main()
