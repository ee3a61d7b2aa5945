"""What encoder and decoder share and no file holds: post-filter, patterns and tables, as one file with a card beside.

Layer: numpy; fsspec through storage. Keras is imported when a filter is first used; no beam, no pyarrow.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from q1net_core import storage
from q1net_core.arrays import Float32Array
from q1net_core.boost.bases import BASES
from q1net_core.boost.indices import Tables
from q1net_core.boost.patterns import CELL
from q1net_core.errors import ImageError, WeightsError
from q1net_core.network.restorer import Restorer

PACKAGED = Path(__file__).parents[1] / "weights"
MAX_BYTES = 16 << 20
# What the file's first 4 bytes of a sha256 are to a picture.
NAME_BYTES = 4
# numpy reads the headers of arrays with ``ast``, which in Python 3.11 fails now and then where threads share it:
# https://github.com/python/cpython/issues/106905.
ONE_READER = Lock()


@dataclass(frozen=True)
class BoostModel:
    """A model for one base codec.

    Args:
        base: name of the codec it was trained behind.
        filter_weights: arrays of the post-filter, see ``network.restorer``.
        codebook: the patterns float32 [K, 64]; the first is zero, "none".
        tables: what is known of indices in advance.
        sha256: of the file it came from; empty until it is written.
    """

    base: str
    filter_weights: Sequence[Float32Array]
    codebook: Float32Array
    tables: Tables
    sha256: str = ""

    def __post_init__(self) -> None:
        if self.base not in BASES:
            raise ValueError(f"base is {self.base!r}, not one of {', '.join(BASES)}")
        if self.codebook.shape != (self.tables.patterns, CELL) or self.codebook[0].any():
            raise ValueError(f"the codebook is {self.codebook.shape}, not [K, {CELL}] with zeros first")

    @property
    def name(self) -> bytes:
        """What a boosted picture calls the model."""
        return bytes.fromhex(self.sha256)[:NAME_BYTES]

    @cached_property
    def restorer(self) -> Restorer:
        """The loaded post-filter."""
        return Restorer(self.filter_weights)

    def to_bytes(self) -> bytes:
        """The file; kernels lose what 16 bits do not hold, so use the model that ``from_bytes`` gives."""
        arrays: dict[str, Any] = {
            "base": np.array(self.base),
            "codebook": self.codebook.astype(np.float16),
            "counts": self.tables.counts.astype(np.uint16),
            "frequencies": self.tables.frequencies.astype("<u4"),
        }
        for number, array in enumerate(self.filter_weights):
            arrays[f"filter_{number:02}"] = array.astype(np.float16)
        buffer = BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @staticmethod
    def from_bytes(content: bytes) -> "BoostModel":
        """The model of a file; raises ValueError, KeyError or OSError if it is none."""
        with ONE_READER, np.load(BytesIO(content), allow_pickle=False) as arrays:
            filters = [arrays[name].astype(np.float32) for name in sorted(arrays.files) if name.startswith("filter_")]
            tables = Tables(arrays["counts"].astype(np.intp), arrays["frequencies"].astype(np.intp))
            codebook = arrays["codebook"].astype(np.float32)
            return BoostModel(str(arrays["base"]), filters, codebook, tables, sha256(content).hexdigest())


@dataclass(frozen=True, slots=True)
class BoostCard:
    """What is known of a model file: ``base``, ``sha256``, and how it was ``trained``."""

    base: str
    sha256: str
    trained: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The card as it is stored."""
        return json.dumps({"base": self.base, "sha256": self.sha256, "trained": dict(self.trained)}, indent=2) + "\n"


def packaged_models() -> list[str]:
    """Names of the base codecs whose model comes with the package."""
    return [name for name in BASES if (PACKAGED / f"boost-{name}.npz").exists()]


def read_boost_model(source: str) -> BoostModel:
    """The packaged model of a base codec, or the one at the URI of an .npz file, with its card beside it.

    Raises:
        WeightsError: there is none, it is damaged, or it is not the one that its card names.
    """
    packaged = packaged_models()
    if source not in packaged and not source.endswith(".npz"):
        raise WeightsError(f"model is {source!r}; expected an .npz file or one of {', '.join(packaged) or 'none'}")
    uri = str(PACKAGED / f"boost-{source}.npz") if source in packaged else source
    try:
        content = storage.read_bytes(uri, MAX_BYTES)
        expected = json.loads(storage.read_bytes(card_uri(uri), MAX_BYTES))["sha256"]
        actual = sha256(content).hexdigest()
        if actual != expected:
            raise WeightsError(f"model {uri} has sha256 {actual}; its card says {expected}: fetch both files again")
        return BoostModel.from_bytes(content)
    except WeightsError:
        raise
    except ImageError as error:
        raise WeightsError(f"model {uri} cannot be used: {error}; expected it and {card_uri(uri)}") from error
    except Exception as error:  # numpy and zipfile raise whatever a broken file provokes
        raise WeightsError(f"model {uri} is not usable ({error!r}); train it again, or fetch it again") from error


def write_boost_model(model: BoostModel, uri: str, trained: Mapping[str, Any]) -> BoostModel:
    """Write a model and its card; returns the model as it will be read."""
    content = model.to_bytes()
    written = BoostModel.from_bytes(content)
    storage.write_bytes(uri, content)
    storage.write_bytes(card_uri(uri), BoostCard(model.base, written.sha256, trained).to_json().encode())
    return written


def card_uri(uri: str) -> str:
    """Where the card of an .npz file lies."""
    return uri.removesuffix(".npz") + ".json"
