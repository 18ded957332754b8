"""The shards of a set of TFDS that `prepare` writes, each whole or not there, and what makes them a set."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from sfa_jax._errors import InputError
from sfa_jax.data._runs import Run

_INFO = "dataset_info.json"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}"
_VERSION = "1.0.0"


class SetWriter:
    """Frames go into shards of equally many; whole shards are told by `state`, which another process can go on from.

    Args:
      folder: of the set.
      name: of the set.
      shard_bytes: of frames in a shard, at most, but at least one frame.
      state: of an earlier writer of the same set; None for a new one.
    """

    def __init__(self, folder: pathlib.Path, name: str, shard_bytes: int, state: dict[str, Any] | None) -> None:
        self._folder, self._shard_bytes = folder, shard_bytes
        self.state: dict[str, Any] = state or {"name": name, "shape": None, "truth": None, "shards": {}, "bytes": {}}
        self._name = self.state["name"]  # that of the folder when it was begun
        self._open: dict[str, _Shard] = {}
        self._save: Callable[[], None] = lambda: None
        self._features: Any = None

    def check_files(self) -> None:
        """Raises `InputError` if a shard that was written is no longer there."""
        for split, lengths in self.state["shards"].items():
            for number in range(len(lengths)):
                path = self._folder / self._file_name(split, number)
                if not path.exists() or path.stat().st_size == 0:
                    raise InputError(
                        f"{path}: expected a shard of {lengths[number]} frames that was written before, found none; "
                        f"put it back, or remove the folder {self._folder} to write the set anew"
                    )

    @property
    def complete(self) -> bool:
        return (self._folder / _INFO).exists()

    @property
    def n_whole(self) -> int:
        """Frames in whole shards."""
        return sum(map(sum, self.state["shards"].values()))

    def n_written(self, split: str) -> int:
        """Frames of a split that need not be added again."""
        return self._n_whole(split) + (self._open[split].n_frames if split in self._open else 0)

    def holds(self, frames: Mapping[str, int]) -> bool:
        """Whether the first frames of each split, so many, are in whole shards."""
        return all(self._n_whole(split) >= n for split, n in frames.items())

    def check(self, run: Run) -> None:
        """Raises `InputError` unless a run is like those before it."""
        shape, truth = list(run.frames.shape[1:]), sorted(run.truth)
        if self.state["shape"] is None:
            self.state |= {"shape": shape, "truth": truth}
        if shape != self.state["shape"]:
            raise InputError(
                f"{run.name} has frames of shape {shape}, what is written has {self.state['shape']}; set image_size "
                "and greyscale, or write one kind"
            )
        if truth != self.state["truth"]:
            raise InputError(
                f"{run.name}: {', '.join(truth) or 'nothing'} is known of its frames, of those before it "
                f"{', '.join(self.state['truth']) or 'nothing'}; write sources that know the same into one set"
            )
        odd = [name for name in truth if "/" in name]
        if odd:
            raise InputError(f"{run.name}: truth/{odd[0]}: expected a name without /, as TFDS nests by it; rename it")

    @contextlib.contextmanager
    def writing(self, save: Callable[[], None]) -> Iterator[None]:
        """Inside, frames can be added; at its end the last shards are closed. `save` is called after each shard."""
        self._save = save
        try:
            yield
            for split in sorted(self._open):
                self._close(split)
        finally:
            for shard in self._open.values():
                shard.abandon()
            self._open.clear()

    def add(self, split: str, run_id: int, run: Run) -> None:
        """Adds all frames of a run, or of a part of it."""
        features = self._made_features()
        frames = np.asarray(run.frames)
        per_shard = max(1, self._shard_bytes // max(frames[0].nbytes, 1))
        for row, frame in enumerate(frames):
            if split not in self._open:
                number = len(self.state["shards"].get(split, []))
                self._open[split] = _Shard(self._folder, self._file_name(split, number))
            example = {
                "frame": frame,
                "run_id": run_id,
                "frame_index": int(run.frame_index[row]),
                **({"truth": {name: value[row] for name, value in run.truth.items()}} if run.truth else {}),
            }
            self._open[split].write(features.serialize_example(example))
            if self._open[split].n_frames == per_shard:
                self._close(split)

    def finish(self, description: str) -> None:
        """Writes the metadata, `dataset_info.json` last."""
        from tensorflow_datasets.core import dataset_info, file_adapters, naming, splits, utils

        identity = dataset_info.DatasetIdentity(self._name, utils.Version(_VERSION), str(self._folder), module_name="")
        info = dataset_info.DatasetInfo(
            builder=identity, features=self._made_features(), description=description, disable_shuffling=True
        )
        info.set_file_format(file_adapters.FileFormat.ARRAY_RECORD)
        template = naming.ShardedFileTemplate(
            data_dir=self._folder, template=_TEMPLATE, dataset_name=self._name, filetype_suffix="array_record"
        )
        info.set_splits(
            splits.SplitDict(
                splits.SplitInfo(
                    name=split,
                    shard_lengths=lengths,
                    num_bytes=self.state["bytes"][split],
                    filename_template=template.replace(split=split),
                )
                for split, lengths in sorted(self.state["shards"].items())
            )
        )
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=self._folder) as temporary:
            info.write_to_directory(temporary)
            for name in sorted(os.listdir(temporary), key=lambda name: name == _INFO):
                os.replace(os.path.join(temporary, name), self._folder / name)

    def _file_name(self, split: str, number: int) -> str:
        return f"{self._name}-{split}.array_record-{number:05d}"

    def _n_whole(self, split: str) -> int:
        return sum(self.state["shards"].get(split, []))

    def _close(self, split: str) -> None:
        shard = self._open[split]
        shard.close()  # where it fails, the shard is abandoned with the others
        del self._open[split]
        self.state["shards"].setdefault(split, []).append(shard.n_frames)
        self.state["bytes"][split] = self.state["bytes"].get(split, 0) + shard.n_bytes
        self._save()

    def _made_features(self) -> Any:
        if self._features is None:
            import tensorflow_datasets as tfds

            kinds = tfds.features
            known = {name: kinds.Scalar(np.float32) for name in self.state["truth"]}
            self._features = kinds.FeaturesDict(
                {
                    "frame": kinds.Tensor(shape=tuple(self.state["shape"]), dtype=np.uint8, encoding="bytes"),
                    "run_id": kinds.Scalar(np.int64),
                    "frame_index": kinds.Scalar(np.int64),
                    **({"truth": kinds.FeaturesDict(known)} if known else {}),
                }
            )
        return self._features


class _Shard:
    """A file of records, which gets its name when it is whole."""

    def __init__(self, folder: pathlib.Path, name: str) -> None:
        from array_record.python.array_record_module import ArrayRecordWriter

        self._path, self._part = folder / name, folder / f".part-{name}"
        self._writer = ArrayRecordWriter(str(self._part), "group_size:1")  # each record can be read by itself
        self.n_frames = self.n_bytes = 0

    def write(self, record: bytes) -> None:
        self._writer.write(record)
        self.n_frames += 1
        self.n_bytes += len(record)

    def close(self) -> None:
        self._writer.close()
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(self._part, self._path)

    def abandon(self) -> None:
        with contextlib.suppress(Exception):
            self._writer.close()
        self._part.unlink(missing_ok=True)
