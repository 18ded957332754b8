"""Clips: no pair crosses a border, an epoch goes through all pairs, and a step alone decides its batch."""

import numpy as np
import pytest

from sfa_jax._errors import InputError
from sfa_jax.data import ClipSampler, FrameStore, Run

LENGTHS = (23, 7, 12)


def run_of(frame):
    return np.searchsorted(np.cumsum(LENGTHS), frame, side="right")


def run(n, size=4, **truth):
    frames = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, size, size, 3), np.uint8)
    return Run(frames, f"run of {n}", np.arange(n), truth)


@pytest.mark.parametrize("clip_length", [2, 3, 5])
@pytest.mark.parametrize("order", ["shuffled", "consecutive"])
def test_clips_stay_inside_their_run(clip_length, order):
    sampler = ClipSampler(LENGTHS, clip_length=clip_length, batch_size=2, order=order)
    for step in range(3 * sampler.steps_per_epoch):
        batch = sampler.at(step)
        assert batch.frames.shape == batch.valid.shape == batch.reset.shape == (2, clip_length)
        np.testing.assert_array_equal(run_of(batch.frames), np.broadcast_to(batch.run_id[:, None], (2, clip_length)))
        steps = np.diff(batch.frames, axis=1)
        np.testing.assert_array_equal(steps, batch.valid[:, 1:])  # one frame on, or padding that repeats the last
        assert batch.valid[:, 0].all()


def test_an_epoch_of_pairs_is_every_pair_once():
    sampler = ClipSampler(LENGTHS, clip_length=2, batch_size=3, seed=5)
    assert sampler.steps_per_epoch == (22 + 6 + 11) // 3
    for epoch in range(2):
        steps = range(epoch * sampler.steps_per_epoch, (epoch + 1) * sampler.steps_per_epoch)
        starts = np.concatenate([sampler.at(step).frames[:, 0] for step in steps])
        assert len(np.unique(starts)) == len(starts) == 39
    assert np.any(sampler.at(0).frames != sampler.at(sampler.steps_per_epoch).frames)


def test_an_epoch_of_images_is_every_image_once():
    sampler = ClipSampler((*LENGTHS, 1), clip_length=1, batch_size=4, seed=5)
    assert sampler.steps_per_epoch == 43 // 4
    epochs = []
    for epoch in range(2):
        batches = [sampler.at(epoch * sampler.steps_per_epoch + step) for step in range(sampler.steps_per_epoch)]
        assert all(batch.frames.shape == batch.valid.shape == (4, 1) for batch in batches)
        assert all(batch.valid.all() and batch.reset.all() for batch in batches)
        epochs.append(np.concatenate([batch.frames[:, 0] for batch in batches]))
        assert len(np.unique(epochs[-1])) == 40  # of 43: what does not fill a batch is left out
    assert np.any(epochs[0] != epochs[1])
    images = np.concatenate(epochs)
    np.testing.assert_array_equal(run_of(images), np.concatenate([sampler.at(step).run_id for step in range(20)]))


@pytest.mark.parametrize("order", ["shuffled", "consecutive"])
def test_a_step_decides_its_batch(order):
    a = ClipSampler(LENGTHS, clip_length=3, batch_size=2, seed=1, order=order)
    b = ClipSampler(LENGTHS, clip_length=3, batch_size=2, seed=1, order=order)
    for step in range(60):
        a.at(step)
    for step in (40, 3, 17):
        for field, other in zip(a.at(step), b.at(step), strict=True):
            np.testing.assert_array_equal(field, other)


@pytest.mark.parametrize(
    ("lengths", "clip_length", "batch_size"),
    [
        (LENGTHS, 4, 2),
        (LENGTHS, 5, 3),
        (LENGTHS, 2, 7),
        ((200, 90), 8, 5),
        ((16, 3, 9, 2, 1, 31), 7, 4),
        ((50,), 3, 1),
        ((50,), 9, 6),
    ],
)
def test_consecutive(lengths, clip_length, batch_size):
    """A reader goes on where it stopped, reset says where it does not, and no pair is left out for long."""
    sampler = ClipSampler(lengths, clip_length=clip_length, batch_size=batch_size, order="consecutive")
    run = np.repeat(np.arange(len(lengths)), lengths)
    last = np.full(sampler.batch_size, -9)
    limit = 3 * sampler.steps_per_epoch + 4
    seen = np.full(len(run), -1)  # the step in which each frame and the next one were last a pair
    start_of_run = (np.cumsum(lengths) - lengths)[run]
    for step in range(3 * limit):
        batch = sampler.at(step)
        first = batch.frames[:, 0]
        follows = (first == last + 1) & (run[first] == run[last])
        np.testing.assert_array_equal(batch.reset[:, 0], ~follows)
        np.testing.assert_array_equal(batch.reset[:, 1:], False)
        if step:  # only at a run's start, wherever an epoch ends
            assert np.all((first - start_of_run[first])[~follows] <= clip_length // 2)
        last = np.max(np.where(batch.valid, batch.frames, -1), axis=1)
        pairs = batch.frames[:, :-1][batch.valid[:, 1:]]
        seen[pairs] = step
        if step >= limit - 1:
            assert (step - seen[:-1][run[1:] == run[:-1]]).max() < limit


def test_consecutive_readers_are_spread():
    sampler = ClipSampler((4000, 4000), clip_length=8, batch_size=16, order="consecutive")
    for step in (0, 100, 12345):
        gaps = np.diff(np.sort(sampler.at(step).frames[:, 0]))
        assert gaps.min() > 450
        assert gaps.max() < 550


def test_runs_too_short_to_carry_a_state(caplog):
    ClipSampler((9, 10, 11), clip_length=8, batch_size=2, order="consecutive")
    assert "follow on another one, so that a state is hardly carried; lower data.clip_length (now 8)" in caplog.text
    caplog.clear()
    ClipSampler((40, 40), clip_length=8, batch_size=10, order="consecutive")
    assert not caplog.text


def test_short_data_make_a_smaller_batch(caplog):
    sampler = ClipSampler((5,), clip_length=2, batch_size=128)
    assert sampler.batch_size == 4
    assert "so a batch holds 4 of them instead of 128" in caplog.text


def test_sequences_shorter_than_a_clip_are_told(caplog):
    with caplog.at_level("WARNING", "sfa_jax"):
        ClipSampler([30, 4, 5], clip_length=8, batch_size=2)
        ClipSampler([30, 4, 5], clip_length=8, batch_size=1, order="in_turn")  # there each is a clip
    assert caplog.messages == [
        "data.clip_length: 2 of 3 training sequences are shorter than 8 frames, and not trained on (9 of 39 frames); "
        "lower it to use them"
    ]


def test_frame_store(tmp_path):
    np.save(tmp_path / "frames.npy", run(6).frames)
    mapped = Run(np.load(tmp_path / "frames.npy", mmap_mode="r")[1:], "mapped", np.arange(5))
    store = FrameStore([run(3), mapped])
    assert len(store) == 8
    assert not store.in_memory
    assert FrameStore([run(3)]).in_memory
    np.testing.assert_array_equal(store.gather(np.array([[2, 3], [7, 0]]))[..., 0, 0, 0], [[2, 1], [5, 0]])
    np.testing.assert_array_equal(store.all()[:, 0, 0, 0], [0, 1, 2, 1, 2, 3, 4, 5])
    with pytest.raises(InputError, match="run of 4: frames of"):
        FrameStore([run(3), run(4, size=5)])
    with pytest.raises(InputError, match="at least one run"):
        FrameStore([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_length": 24}, "a clip of 24 frames is longer than every run .the longest has 23"),
        (
            {"clip_length": 0},
            "data.clip_length: expected a whole number of at least 1 frame .a single image; .*, got 0",
        ),
        (
            {"clip_length": 1, "order": "consecutive"},
            "data.clip_length: expected a whole number of at least 2 frames .one pair. with .*=consecutive, got 1",
        ),
        (
            {"clip_length": 1, "order": "in_turn", "batch_size": 1},
            "data.clip_length: .* with data.order=in_turn, got 1",
        ),
        ({"clip_length": 2.0}, "data.clip_length: .*got 2.0"),
        ({"order": "sideways"}, "data.order: expected one of"),
        ({"batch_size": 0}, "data.batch_size: expected a whole number of at least 1 clip, got 0"),
        ({"batch_size": 2.5}, "data.batch_size: .*got 2.5"),
        ({"seed": -1}, "^seed: expected a whole number of at least 0, got -1"),
        ({"seed": 0.5}, "^seed: .*got 0.5"),
    ],
)
def test_errors(options, message):
    with pytest.raises(InputError, match=message):
        ClipSampler(LENGTHS, **{"clip_length": 2, "batch_size": 2, **options})
