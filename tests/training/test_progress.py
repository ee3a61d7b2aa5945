"""Lines of progress: figures worked out by hand, not more than one in half a minute; a limit that ends the training."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from training import progress
from training.config import preset
from training.progress import Progress, TimeLimit, describe_progress


def test_speed_and_time_left_count_patches() -> None:
    config = replace(preset("smoke", batch_size=16), batch_growth=((8, 160),))
    # 64 patches in 4 seconds; 2 batches of 16 and 4 of 160 are left.
    assert describe_progress(config, 2, 6, 4.0) == "step 6 of 12: 16.0 patches/s, about 0:00:42 left"


def test_networks_that_see_a_window_count_images() -> None:
    told = describe_progress(preset("window", variant="jqe"), 500, 1000, 2000.0)
    assert told == "step 1,000 of 20,000: 8.0 images/s, about 21:06:40 left"


def test_a_line_comes_half_a_minute_after_the_last_at_the_earliest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    follower = Progress(preset("smoke"))
    follower.set_model(SimpleNamespace(optimizer=SimpleNamespace(iterations=4)))
    follower.on_epoch_begin(1)
    for batch in range(8):
        clock[0] += 10
        follower.on_train_batch_end(batch)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["step 7 of 12", "step 10 of 12"]


def test_a_limit_stops_the_model_once_it_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    limit, endless = TimeLimit(20), TimeLimit(None)
    for callback in (limit, endless):
        callback.set_model(SimpleNamespace(stop_training=False))
    for now, passed in ((119.9, False), (120.0, True)):
        clock[0] = now
        limit.on_train_batch_end(0)
        endless.on_epoch_end(0)
        assert (limit.reached, limit.model.stop_training) == (passed, passed)
    assert not endless.reached
