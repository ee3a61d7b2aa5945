"""Batches from photographs: seeded, at their true levels, made ahead by a thread; validation images."""

import threading
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from pictures import make_picture
from PIL import Image

from q1net_core.codecs.jpeg import compress_jpeg
from q1net_core.errors import ConfigError
from q1net_core.patches import cut_windows, sample_patches
from training.config import preset
from training.data.photographs import LEVELS, batches, draw_levels, load_corpus, prefetch, validation_set

SMOKE = preset("smoke", batch_size=16)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small lossless images in train/."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "train").mkdir()
    for seed in range(6):
        Image.fromarray(make_picture(seed, 64, 64)).save(folder / "train" / f"{seed}.png")
    return folder


def test_batches_depend_on_seed_and_step_alone() -> None:
    corpus = [make_picture(seed, 64, 80) for seed in range(3)]
    first = list(islice(batches(corpus, SMOKE), 4))
    resumed = list(islice(batches(corpus, SMOKE, start=2), 2))
    for (patches, levels), (again, levels_again) in zip(first[2:], resumed, strict=True):
        assert np.array_equal(patches, again)
        assert np.array_equal(levels, levels_again)
    assert not np.array_equal(first[0][0], first[1][0])
    other = next(batches(corpus, preset("smoke", batch_size=16, seed=2)))
    assert not np.array_equal(other[0], first[0][0])


def test_batch_has_patches_of_the_whole_compressed_image() -> None:
    picture = make_picture(5, 96, 72)
    config = preset("smoke", batch_size=64, locations_per_level=4, levels_per_location=2)
    patches, levels = next(batches([picture], config))
    assert (patches.shape, patches.dtype, levels.dtype) == ((64, 16, 16, 3), np.uint8, np.float32)
    assert len(np.unique(levels)) == 16
    tops, lefts = (
        grid.ravel() for grid in np.meshgrid(np.arange(4, 96 - 16, 8), np.arange(4, 72 - 16, 8), indexing="ij")
    )
    found: Counter[int] = Counter()
    for patch, level in zip(patches, levels, strict=True):
        candidates = cut_windows(compress_jpeg(picture, int(level)), tops, lefts, 16)
        matches = np.flatnonzero((candidates == patch).all(axis=(1, 2, 3)))
        assert len(matches) > 0
        found[int(matches[0])] += 1
    # 32 random places among 60, each at two levels.
    assert len(found) > 20
    assert all(count % 2 == 0 for count in found.values())


def test_levels_are_drawn_equally_often() -> None:
    rng = np.random.default_rng(1)
    _, counts = np.unique(draw_levels(rng, 3 * len(LEVELS)), return_counts=True)
    assert counts.tolist() == [3] * len(LEVELS)
    some = draw_levels(rng, 64)
    assert len(set(some.tolist())) == 64
    assert some.tolist() != sorted(some.tolist())


def test_larger_images_are_drawn_more_often() -> None:
    dark, light = np.zeros((128, 128, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    patches, _ = next(
        batches([dark, light], preset("smoke", batch_size=1200, locations_per_level=12, levels_per_location=1))
    )
    share = (patches[:, 0, 0, 0] < 128).mean()
    assert share == pytest.approx(2 / 3, abs=0.05)


def test_images_without_room_for_a_tile_are_refused() -> None:
    with pytest.raises(ConfigError, match="20 x 64 pixels; expected at least 32 x 32"):
        next(batches([make_picture(1, 64, 64), make_picture(1, 64, 64)[:, :20]], SMOKE))


def test_corpus_is_every_image_in_order(images: Path) -> None:
    corpus = load_corpus(str(images / "train"))
    assert len(corpus) == 6
    assert np.array_equal(corpus[4], make_picture(4, 64, 64))
    with pytest.raises(ConfigError, match="no image matches"):
        load_corpus(str(images / "none"))


def test_validation_set_is_every_image_at_every_level_as_the_audit_sees_it() -> None:
    corpus = [make_picture(seed, 64, 64) for seed in (1, 2)]
    patches, truth = validation_set(corpus, (20, 80), 16)
    assert patches.shape == (4, 16, 16, 16, 3)
    assert truth.tolist() == [20, 80, 20, 80]
    assert np.array_equal(patches[3], sample_patches(compress_jpeg(corpus[1], 80), 16))
    with pytest.raises(ConfigError, match="fewer than 64 patches"):
        validation_set([make_picture(1, 64, 64), make_picture(2, 128, 128)], (50,), 64)


def test_batches_grow_where_the_config_says() -> None:
    corpus = [make_picture(seed, 64, 80) for seed in range(3)]
    growing = preset("smoke", batch_size=16, batch_growth=((1, 32), (3, 64)))
    sizes = [len(levels) for _, levels in islice(batches(corpus, growing), 5)]
    assert sizes == [16, 32, 32, 64, 64]
    assert [growing.patches_until(step) for step in range(6)] == [0, 16, 48, 80, 144, 208]
    resumed = next(batches(corpus, growing, start=3))
    assert np.array_equal(resumed[0], next(islice(batches(corpus, growing), 3, None))[0])


def test_items_are_made_ahead_in_order_by_another_thread() -> None:
    makers, made = set(), threading.Semaphore(0)

    def make() -> Iterator[int]:
        for number in count():
            makers.add(threading.current_thread())
            yield number
            made.release()

    ahead = prefetch(make(), ahead=3)
    assert next(ahead) == 0
    # A fourth is made although only one was asked for.
    assert all(made.acquire(timeout=10) for _ in range(3))
    assert list(islice(ahead, 5)) == [1, 2, 3, 4, 5]
    assert threading.current_thread() not in makers
    ahead.close()
    for maker in makers:
        maker.join(10)
        assert not maker.is_alive()


def test_failure_of_the_maker_reaches_the_reader() -> None:
    def make() -> Iterator[int]:
        yield 1
        raise ConfigError("no more")

    ahead = prefetch(make())
    assert next(ahead) == 1
    with pytest.raises(ConfigError, match="no more"):
        next(ahead)
