"""Variant name or weights file -> checked files; beside each NAME.keras lie its card and, for CPUs, its ONNX file.

Layer: fsspec through storage; no beam, no pyarrow. Keras is imported where weights are written, never where they are
read, so that whoever only starts a run on other machines needs no TensorFlow.
"""

import json
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from q1net_core import storage
from q1net_core.errors import ConfigError, ImageError, WeightsError
from q1net_core.intervals import tables_from_json
from q1net_core.network.variants import VARIANTS, Variant
from q1net_core.records import FusionRule

if TYPE_CHECKING:
    import keras

PACKAGED = Path(__file__).parents[1] / "weights"
MAX_WEIGHTS_BYTES = 64 << 20
# Those whose levels are libjpeg's qualities 1-100: only of these is an answer a JPEG quality.
LIBJPEG_CODECS = ("jpeg", "jpeg-422", "jpeg-444", "jpeg-grey")


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of a weights file. Keys that this version does not know are kept in ``more``.

    Args:
        variant: a name in VARIANTS.
        sha256: of the weights file.
        codec: whose levels the network estimates, a name in ``codecs.table.CODECS``; old cards without one are JPEG's.
        codec_versions: the libraries that compressed the training pictures, by name.
        pictures: of ``training`` and ``validation``: the number of ``files``, and the ``sha256`` of all of theirs.
        start_sha256: of the weights that the training started from; None if there were none, or nobody knows which.
        validation: figures of these weights on the validation pictures, by name.
        trained: the training's configuration, and how far it came.
        made_with: versions, by name.
        calibration: how the pictures were sampled that chose ``fusions``.
        fusions: of each fusion rule, the best first: ``threshold``, ``calibration``, figures.
        intervals: of fusion rules, by name, how far their answers may be off (intervals.tables_to_json).
        onnx_sha256: of the same network as an ONNX file, NAME.onnx beside NAME.keras; None where there is none.
        more: all other keys.
    """

    variant: str
    sha256: str = ""
    codec: str = "jpeg"
    codec_versions: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    start_sha256: str | None = None
    validation: Mapping[str, Any] = field(default_factory=dict)
    trained: Mapping[str, Any] = field(default_factory=dict)
    made_with: Mapping[str, str] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    fusions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    intervals: Mapping[str, Any] = field(default_factory=dict)
    onnx_sha256: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("variant", self.variant), ("sha256", self.sha256), ("codec", self.codec)):
            if not isinstance(value, str):
                raise TypeError(f"{name} is {value!r}, not a text")
        _ = self.rules

    @property
    def rules(self) -> tuple[FusionRule, ...]:
        """The fusion rules, the best first."""
        return tuple(
            FusionRule(
                name,
                float(rule["threshold"]),
                tuple((float(a), float(b)) for a, b in rule["calibration"]),
                tables_from_json(self.intervals.get(name, ())),
            )
            for name, rule in self.fusions.items()
        )

    @staticmethod
    def from_json(text: str | bytes) -> "Card":
        """What ``to_json`` wrote, or an older version; raises ValueError, KeyError or TypeError if it is no card."""
        values = dict(json.loads(text))
        known = {item.name for item in fields(Card)} - {"more"}
        more = {name: value for name, value in values.items() if name not in known}
        return Card(**{name: value for name, value in values.items() if name in known}, more=more)

    def to_json(self) -> str:
        """The card as it is stored; what it does not tell is left out."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "more"}
        told = {name: value for name, value in values.items() if value not in (None, "", {})}
        return json.dumps(told | dict(self.more), indent=2) + "\n"


def card_uri(weights: str) -> str:
    """Where the card of a .keras file lies."""
    return weights.removesuffix(".keras") + ".json"


def onnx_uri(weights: str) -> str:
    """Where the ONNX file of a .keras file lies."""
    return weights.removesuffix(".keras") + ".onnx"


def read_card(weights: str, finished: bool = True) -> Card:
    """The card beside a .keras file; a ``finished`` one has fusion rules.

    Raises:
        ImageError: it cannot be read.
        WeightsError: it is no card, or not finished.
    """
    uri = card_uri(weights)
    content = storage.read_bytes(uri, MAX_WEIGHTS_BYTES)
    try:
        card = Card.from_json(content)
        if not card.sha256 or (finished and not card.fusions):
            raise KeyError("fusions" if card.sha256 else "sha256")
        return card
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"weights card {uri} is not usable ({error!r}); expected JSON with variant, sha256 and fusions, "
            "as the trainer writes it"
        ) from error


def write_card(card: Card, weights: str) -> None:
    """Write the card beside a .keras file."""
    storage.write_bytes(card_uri(weights), card.to_json().encode())


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Verified weights: the file's ``content``, its ``card``, and the same network as an ONNX file, if there is one."""

    content: bytes
    card: Card
    onnx: bytes | None = None

    @property
    def variant(self) -> str:
        """Name of the variant, a key of VARIANTS."""
        return self.card.variant

    @property
    def network(self) -> Variant:
        """The variant itself: architecture, kind of input, meaning of the outputs."""
        return VARIANTS[self.card.variant]

    @property
    def sha256(self) -> str:
        """Of the content."""
        return self.card.sha256

    @property
    def rules(self) -> tuple[FusionRule, ...]:
        """The fusion rules, the best first."""
        return self.card.rules

    def rule(self, fusion: str | None = None) -> FusionRule:
        """The best fusion rule, or the one of that name; raises ConfigError if none was chosen for these weights."""
        for rule in self.rules:
            if fusion in (None, rule.fusion):
                return rule
        names = ", ".join(rule.fusion for rule in self.rules)
        raise ConfigError(f"fusion is {fusion!r}; these weights have {names}")


def packaged_variants() -> list[str]:
    """Names of the variants whose weights come with the package."""
    return sorted(name for name, variant in VARIANTS.items() if packaged_file(variant).exists())


def packaged_file(variant: Variant) -> Path:
    """Where the packaged weights of a variant would lie."""
    return PACKAGED / f"{variant.weights}.keras"


def find_weights(source: str) -> str:
    """The URI of the .keras file that a variant's name or a URI means; raises WeightsError if it means none."""
    if source in packaged_variants():
        return str(packaged_file(VARIANTS[source]))
    if source.endswith(".keras"):
        return source
    lacking = " (a variant, but none are packaged for it)" if source in VARIANTS else ""
    raise WeightsError(
        f"weights are {source!r}{lacking}; expected the URI of a .keras file or one of: "
        f"{', '.join(packaged_variants())}"
    )


def read_weights(source: str, codecs: Collection[str] | None = LIBJPEG_CODECS) -> WeightsFile:
    """Weights by variant name, or by the URI of a .keras file with its card beside it.

    Args:
        source: name or URI.
        codecs: those whose levels may be estimated; None allows any.

    Raises:
        WeightsError: no such file or card, a file does not have the sha256 that the card names, nobody knows the
            variant, or the levels are those of another codec.
    """
    uri = find_weights(source)
    try:
        content, card = storage.read_bytes(uri, MAX_WEIGHTS_BYTES), read_card(uri)
        onnx = storage.read_bytes(onnx_uri(uri), MAX_WEIGHTS_BYTES) if card.onnx_sha256 else None
    except ImageError as error:
        raise WeightsError(
            f"weights {uri} cannot be used: {error}; expected a .keras file, {card_uri(uri)} and the .onnx file that "
            "it may name"
        ) from error
    check_digest(uri, content, card.sha256)
    if onnx is not None:
        check_digest(onnx_uri(uri), onnx, card.onnx_sha256)
    if card.variant not in VARIANTS:
        raise WeightsError(
            f"card of weights {uri} names variant {card.variant!r}; expected one of {', '.join(VARIANTS)}"
        )
    if codecs is not None and card.codec not in codecs:
        raise WeightsError(
            f"weights {uri} estimate levels of the codec {card.codec!r}; expected weights for one of "
            f"{', '.join(codecs)}"
        )
    return WeightsFile(content, card, onnx)


def check_digest(uri: str, content: bytes, expected: str | None) -> None:
    """Raise WeightsError unless a file has the sha256 that its card names."""
    actual = sha256(content).hexdigest()
    if actual != expected:
        raise WeightsError(
            f"weights {uri} have sha256 {actual}; its card says {expected}. The file is damaged or from another "
            "training: fetch all files of these weights again"
        )


def read_pinned(source: str, sha256: str) -> WeightsFile:
    """The weights that a run was started with, where one of its workers reads them; raises WeightsError for others."""
    # Whoever pinned them has decided whose levels may be estimated.
    file = read_weights(source, codecs=None)
    if file.sha256 != sha256:
        raise WeightsError(
            f"weights {source} have sha256 {file.sha256} on this worker; the run was started with {sha256}. Install "
            "the same version everywhere, or do not replace weights during a run"
        )
    return file


def write_weights(model: "keras.Model", uri: str, card: Card) -> None:
    """Save a model without its optimizer as ``uri`` (.keras), and beside it its card, completed by the sha256.

    The card names no ONNX file: one that lies there is of other weights. ``q1net export --beside`` makes it anew.
    """
    bare = VARIANTS[card.variant].architecture.build()
    bare.set_weights(model.get_weights())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        bare.save(path)
        content = path.read_bytes()
    storage.write_bytes(uri, content)
    write_card(replace(card, sha256=sha256(content).hexdigest(), onnx_sha256=None), uri)


def write_onnx(content: bytes, uri: str) -> None:
    """Write an ONNX file beside the weights ``uri`` (.keras) that it was made from, and its sha256 into their card."""
    storage.write_bytes(onnx_uri(uri), content)
    write_card(replace(read_card(uri, finished=False), onnx_sha256=sha256(content).hexdigest()), uri)
