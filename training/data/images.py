"""A training's data from lossless images: what a variant sees of them decides how batches are made."""

from collections.abc import Sequence
from functools import cache

from q1net_core.arrays import UInt8Array
from q1net_core.codecs.table import CODECS
from q1net_core.network.variants import VARIANTS, Variant
from q1net_core.patches import DEFAULT_PATCHES
from q1net_core.sampling import MACROBLOCK, PATCHES
from training.data import frames, windows
from training.data.photographs import (
    Data,
    Labelled,
    altered_set,
    batches,
    describe_images,
    list_corpus,
    load_images,
    validation_set,
)
from training.data.provenance import Provenance


def image_data(images: str, validation_images: str, variant: Variant = VARIANTS["q1net-k8"]) -> Data:
    """A training's data from lossless images, each a file, folder or glob; loaded when they are first needed.

    Raises:
        ConfigError: where the data is used, if an image is too small for what the variant sees; it is named.
    """
    kind, codec = variant.input, CODECS[variant.codec]

    @cache
    def load(pattern: str, least: int | None) -> list[UInt8Array]:
        uris = list_corpus(pattern)
        corpus = load_images(uris)
        if least is not None:
            windows.check_room(uris, corpus, least)
        return corpus

    def describe() -> Provenance:
        pictures = {"training": describe_images(list_corpus(images))}
        pictures["validation"] = describe_images(list_corpus(validation_images))
        return Provenance(variant.codec, codec.versions(), pictures)

    if kind == PATCHES:
        make, training_room, validation_room = batches, None, None
    elif kind.sampler == "macroblocks":
        make, training_room, validation_room = frames.batches, 3 * MACROBLOCK, 3 * MACROBLOCK
    else:
        make, training_room, validation_room = windows.batches, variant.training_size, kind.size

    def validate(levels: Sequence[int], count: int) -> Labelled:
        known = [level for level in levels if level in codec.levels]
        return validation_set(load(validation_images, validation_room), known, count, codec, kind)

    return Data(
        batches=lambda config, start: make(load(images, training_room), config, start),
        patch_sets=validate,
        altered=lambda alteration, count: altered_set(load(validation_images, None), alteration, count),
        inference_sets=lambda levels: validate(levels, DEFAULT_PATCHES),
        provenance=describe,
    )
