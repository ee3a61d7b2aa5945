"""The quality of JPEG files from q1net-k8 as TFLite, without the package: samples, predicts, fuses.

    q1net export --format tflite --batch 256 --output q1net.tflite
    python predict_tflite.py q1net.tflite 94.5 photo.jpg ...

Needs numpy, Pillow and TensorFlow (or any package with a TFLite interpreter). The fusion is the paper's: the median of
the patches whose confidence is above a threshold, fusions.paper.threshold in the card of the weights (NAME.json).
"""

import sys

import numpy as np
import tensorflow as tf
from PIL import Image

PATCHES_PER_SIDE = 16


def spread(count, wanted):
    """Indices of ``wanted`` of ``count`` items, evenly spread."""
    taken = min(count, wanted)
    return (np.arange(taken) * 2 + 1) * count // (2 * taken)


def sample(pixels):
    """Patches uint8 [N, 16, 16, 3] of a picture uint8 [H, W, 3], each a block of 8 x 8 and 4 pixels around it."""
    starts = [np.arange(8, length - 12 + 1, 8) for length in pixels.shape[:2]]
    if min(map(len, starts)) == 0:
        raise SystemExit("the picture has no room for a patch")
    rows, columns = (axis[spread(len(axis), PATCHES_PER_SIDE)] - 4 for axis in starts)
    return np.stack([pixels[y : y + 16, x : x + 16] for y in rows for x in columns])


def predict(interpreter, patches):
    """Quality and confidence of each patch, 0-100. Calls have a fixed length: patches are repeated to fill one."""
    details = interpreter.get_input_details()[0]
    batch = int(details["shape"][0])
    interpreter.allocate_tensors()
    interpreter.set_tensor(details["index"], patches[np.arange(batch) % len(patches)])
    interpreter.invoke()
    outputs = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return outputs[: len(patches)].T


def fuse(quality, confidence, threshold):
    """The median of the confident patches, or None without any."""
    confident = quality[confidence > threshold]
    return float(np.median(confident)) if len(confident) else None


def main(model, threshold, *images):
    """Print a line for each image."""
    interpreter = tf.lite.Interpreter(model_path=model)
    for image in images:
        pixels = np.asarray(Image.open(image).convert("RGB"))
        quality = fuse(*predict(interpreter, sample(pixels)), float(threshold))
        print(f"{image}: {'no patch is confident' if quality is None else f'quality {quality:.1f}'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
