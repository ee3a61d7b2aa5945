"""`python -m training.jqe trained.hdf5 --output jqe.keras`: the weights JQE's authors published as a .keras file."""

import argparse
import io
import sys
from hashlib import sha256

import h5py
import keras
import numpy as np

from q1net_core.arrays import Float32Array
from q1net_core.errors import ImageError, WeightsError
from q1net_core.network.jqe import build_jqe
from q1net_core.network.weights import MAX_WEIGHTS_BYTES, Card, write_weights
from q1net_core.storage import read_bytes


def read_published(content: bytes) -> list[Float32Array]:
    """Kernels and biases of an HDF5 file that the authors' Keras 2 wrote, as this backend has them.

    Theano convolves where TensorFlow and JAX correlate: kernels of a file that names Theano, or no backend, are turned
    by 180 degrees.

    Raises:
        WeightsError: it is no such file, or another network's.
    """
    try:
        with h5py.File(io.BytesIO(content)) as file:
            group = file.get("model_weights", file)
            backend = to_text(file.attrs.get("backend", group.attrs.get("backend", "theano")))
            arrays = [
                np.asarray(group[to_text(layer)][to_text(name)], np.float32)
                for layer in group.attrs["layer_names"]
                for name in group[to_text(layer)].attrs["weight_names"]
            ]
    except (OSError, KeyError) as error:
        raise WeightsError(
            f"JQE's published weights cannot be read: {error}; expected HDF5 as Keras 2 wrote it"
        ) from error
    return [array[::-1, ::-1].copy() if array.ndim == 4 and backend == "theano" else array for array in arrays]


def to_text(name: str | bytes) -> str:
    """A name of HDF5, which is text or bytes."""
    return name.decode() if isinstance(name, bytes) else str(name)


def load_published(content: bytes) -> keras.Model:
    """JQE with the weights that its authors published.

    Args:
        content: of their file, ``model/trained.hdf5`` of kuchida/PixelwiseJPEGCompressionDetection.

    Raises:
        WeightsError: as read_published does, or the shapes are not JQE's.
    """
    model, arrays = build_jqe(), read_published(content)
    expected = [array.shape for array in model.get_weights()]
    if [array.shape for array in arrays] != expected:
        raise WeightsError(
            f"the file has {len(arrays)} arrays of {sum(array.size for array in arrays)} numbers; expected JQE's "
            f"{len(expected)} of {model.count_params()}"
        )
    model.set_weights(arrays)
    return model


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="python -m training.jqe", description=__doc__)
    parser.add_argument("file", metavar="URI", help="HDF5 file of the authors, model/trained.hdf5 of their repository")
    parser.add_argument("--output", required=True, metavar="URI", help="the .keras file; its card goes beside it")
    return parser


def convert(source: str, output: str) -> None:
    """Write the authors' file as weights with a card.

    Raises:
        ImageError: the file cannot be read.
        WeightsError: it is not JQE's.
    """
    content = read_bytes(source, MAX_WEIGHTS_BYTES)
    about = {"by": "its authors: Uchida, Tanaka and Okutomi 2019", "file_sha256": sha256(content).hexdigest()}
    # One number an image: there is nothing to fuse and nothing to refuse.
    card = Card("jqe", trained=about, fusions={"paper": {"threshold": 0, "calibration": []}})
    write_weights(load_published(content), output, card)


def run(argv: list[str]) -> int:
    """Convert as the command line says; returns the exit status."""
    options = make_parser().parse_args(argv)
    try:
        convert(options.file, options.output)
    except (ImageError, WeightsError) as error:
        print(f"jqe: {error}", file=sys.stderr)
        return 2
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
