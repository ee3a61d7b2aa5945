"""The dictionary of tables: every known one once, and its pairs give the same steps back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from q1net_core.jpeg.tables import (
    JPEG_QUALITIES,
    PHOTOSHOP_TABLES,
    SAVE_FOR_WEB_TABLES,
    Table,
    fit_quality,
    mozjpeg_table,
    standard_tables,
)
from q1net_core.lattice.dictionary import (
    AC,
    SCREENED,
    all_pairs,
    all_steps,
    known_tables,
    pair_steps,
    screening_pairs,
    select_pairs,
)


def libjpeg(level: int) -> Table:
    return tuple(standard_tables(level)[0].tolist())


def test_every_known_table_is_there_once() -> None:
    tables = {table.steps: table for table in known_tables()}
    assert len(tables) == len(known_tables())
    expected = {libjpeg(level) for level in JPEG_QUALITIES}
    expected |= {pair.luma for pair in (*PHOTOSHOP_TABLES.values(), *SAVE_FOR_WEB_TABLES.values())}
    expected |= {tuple(mozjpeg_table(level).tolist()) for level in JPEG_QUALITIES}
    assert set(tables) == expected


def test_a_table_of_two_encoders_is_the_earlier_ones() -> None:
    tables = {table.steps: (table.family, table.level, table.quality) for table in known_tables()}
    for level in JPEG_QUALITIES:
        assert tables[libjpeg(level)] == ("libjpeg", level, level)
    for level, pair in PHOTOSHOP_TABLES.items():
        assert tables[pair.luma] == ("photoshop", level, fit_quality(pair.luma))
    shared = [level for level, pair in SAVE_FOR_WEB_TABLES.items() if tables[pair.luma][0] != "save_for_web"]
    assert [tables[SAVE_FOR_WEB_TABLES[level].luma] for level in shared] == [("photoshop", 10, 92)]
    # All steps 1, or all 255.
    assert tables[tuple(mozjpeg_table(100).tolist())] == ("libjpeg", 100, 100)
    assert tables[tuple(mozjpeg_table(3).tolist())][:2] == ("libjpeg", 1)
    assert tables[tuple(mozjpeg_table(75).tolist())] == ("mozjpeg", 75, 67)


def test_pairs_give_the_steps_of_all_tables_back() -> None:
    steps = all_steps()
    assert not steps.flags.writeable
    for frequencies, pairs in ((AC, pair_steps(steps, AC)), (SCREENED, screening_pairs())):
        assert np.array_equal(pairs.steps[pairs.rows], steps[:, frequencies])
        assert np.array_equal(pairs.frequencies[pairs.rows], np.broadcast_to(frequencies, pairs.rows.shape))
        unique = set(zip(pairs.frequencies.tolist(), pairs.steps.tolist(), strict=True))
        assert len(unique) == len(pairs.steps) == pairs.rows.max() + 1
        # What scoring pairs instead of tables saves.
        assert len(pairs.steps) < pairs.rows.size / 2


def test_all_frequencies_but_the_mean_are_looked_at_the_lowest_first() -> None:
    assert sorted(AC) == list(range(1, 64))
    assert AC[:5].tolist() == [1, 8, 16, 9, 2]
    assert np.array_equal(SCREENED, AC[: len(SCREENED)])


@given(st.lists(st.integers(0, len(known_tables()) - 1), min_size=1, max_size=20, unique=True))
def test_some_tables_have_their_own_pairs_each_once(tables: list[int]) -> None:
    pairs = select_pairs(all_pairs(), np.array(tables))
    assert np.array_equal(pairs.steps[pairs.rows], all_steps()[tables][:, AC])
    assert np.array_equal(pairs.frequencies[pairs.rows], np.broadcast_to(AC, pairs.rows.shape))
    assert len({*zip(pairs.frequencies.tolist(), pairs.steps.tolist(), strict=True)}) == len(pairs.steps)
