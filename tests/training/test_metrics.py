"""The files of numbers: a board that cannot be written ends no run."""

import struct

import numpy as np

from sfa_jax.training._metrics import MetricsFile


def read_events(path):
    from tensorboardX.proto.event_pb2 import Event

    data, events = path.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    return events


def test_tensorboard(tmp_path, monkeypatch, caplog):
    """Scalars as TensorBoard reads them; after a full disk one warning, and metrics.jsonl goes on."""
    with MetricsFile(tmp_path / "metrics.jsonl", step=3, tensorboard=tmp_path / "board") as metrics:
        metrics.write(4, "train", {"loss": 0.5, "slowness": np.float32(0.25)})
        (path,) = (tmp_path / "board").iterdir()
        version, start, scalars = read_events(path)
        assert version.file_version == "brain.Event:2"
        assert (start.step, start.session_log.status) == (3, 1)
        assert (scalars.step, [(value.tag, value.simple_value) for value in scalars.summary.value]) == (
            4,
            [("train/loss", 0.5), ("train/slowness", 0.25)],
        )

        def no_room(event):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(metrics._board._events, "write_event", no_room)
        for step in range(5, 40):  # more than any queue holds
            metrics.write(step, "train", {"loss": 0.5})
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'board'}: no more is written for TensorBoard (No space left on device)"
    ]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 36
