"""Orbax checkpoints: the only module that knows the library.

Each step's folder has three items: `state`, a nested dict of arrays that can be restored without any code of ours;
`config`, the resolved config as JSON; `data`, the position in the data as JSON.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from sfa_jax._errors import InputError
from sfa_jax._folders import as_path
from sfa_jax.training._plain_path import plain_path
from sfa_jax.training._steps import TrainState

_METRIC = "held_out_loss"


class Checkpoints:
    """The checkpoints of one run: written in the background, the latest and the best are kept.

    Args:
      folder: where they are.
      read_only: change nothing there, so that a run can be looked at while it trains.

    Raises:
      InputError: something that is no folder is in its place.
    """

    def __init__(self, folder: Path, *, read_only: bool = False):
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(1),
                checkpoint_managers.BestN(
                    get_metric_fn=_metric, reverse=True, n=1, keep_checkpoints_without_metrics=False
                ),
            ]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy,
            best_fn=_metric,
            best_mode="min",
            keep_checkpoints_without_metrics=False,
            cleanup_tmp_directories=not read_only,  # what a running trainer is writing is not a reader's to clean
            read_only=read_only,
            create=False,
        )
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "config": ocp.JsonCheckpointHandler(),
            "data": ocp.JsonCheckpointHandler(),
        }
        self._folder = folder = folder.absolute()
        if not folder.is_dir() and (read_only or folder.exists()):
            raise InputError(f"{folder}: expected a folder of checkpoints; give the --workdir of a run of train.py")
        folder.mkdir(exist_ok=True)
        with contextlib.ExitStack() as until_closed:
            self._shown = until_closed.enter_context(plain_path(folder))
            self._manager = ocp.CheckpointManager(self._shown, options=options, item_handlers=handlers)
            until_closed.callback(self._manager.close)
            self._close = until_closed.pop_all().close

    @property
    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        return self._manager.best_step()

    def save(
        self, state: TrainState, config: Mapping[str, Any], data: Mapping[str, Any], held_out_loss: float | None
    ) -> None:
        """Starts writing; returns once the arrays are copied, so that the state may be donated afterwards.

        The first one in a folder is read back before it returns: what cannot be read there is to be known now, and not
        after days of training.

        Raises:
          InputError: the first one cannot be read back.
        """
        step, tree, is_first = int(state.step), flax.serialization.to_state_dict(state), self.latest_step is None
        if step == self.latest_step:
            return  # a finished run that is measured again
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(tree),
            config=ocp.args.JsonSave(dict(config)),
            data=ocp.args.JsonSave(dict(data)),
        )
        metrics = None if held_out_loss is None else {_METRIC: held_out_loss}
        self._manager.save(step, args=items, metrics=metrics, force=True)
        if is_first:
            self.wait()
            if said := self._differs(step, tree, (config, data)):
                raise InputError(
                    f"{self._folder}: the first checkpoint was written there and does not read back ({said}), so that "
                    "nothing trained could be kept; give another --workdir, on another disk"
                )

    def _differs(self, step: int, tree: Any, described: tuple[Mapping[str, Any], Mapping[str, Any]]) -> str:
        """Names what is not on disk as it was saved; empty where all is."""
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)),
            config=ocp.args.JsonRestore(),
            data=ocp.args.JsonRestore(),
        )
        try:
            with self._readable(step):
                found = self._manager.restore(step, args=items)
        except InputError as error:
            return str(error.__cause__)
        pairs = zip(_named_leaves(tree), _named_leaves(found["state"]), strict=True)
        others = [name for (name, saved), (_, leaf) in pairs if np.asarray(saved).tobytes() != leaf.tobytes()]
        if json.dumps(described) != json.dumps((found["config"], found["data"])):
            others.append("config")
        return f"other values in {', '.join(others)}" if others else ""

    def restore(self, step: int, like: TrainState) -> tuple[TrainState, dict[str, Any], dict[str, Any]]:
        """`(state, config, data)` of a step, the state on the devices of `like`.

        Raises:
          InputError: the checkpoint is damaged, or a leaf is missing or has another shape or type than in `like`.
        """
        target = flax.serialization.to_state_dict(like)
        with self._readable(step):
            saved = self._saved_leaves(step)
        _check_leaves(saved, target, step)
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(jax.tree.map(_abstract, target)),
            config=ocp.args.JsonRestore(),
            data=ocp.args.JsonRestore(),
        )
        with self._readable(step):
            restored = self._manager.restore(step, args=items)
        return flax.serialization.from_state_dict(like, restored["state"]), restored["config"], restored["data"]

    def restore_config(self, step: int) -> dict[str, Any]:
        """The config of a step.

        Raises:
          InputError: the checkpoint is damaged.
        """
        with self._readable(step):
            restored = self._manager.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore()))
        config: dict[str, Any] = restored["config"]
        return config

    def restore_items(self, step: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """`(state, config, data)` of a step; the state as a nested dict on one device, whatever wrote it.

        Raises:
          InputError: the checkpoint is damaged.
        """
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(fallback_sharding=sharding),
            config=ocp.args.JsonRestore(),
            data=ocp.args.JsonRestore(),
        )
        with self._readable(step):
            restored = self._manager.restore(step, args=items)
        return restored["state"], restored["config"], restored["data"]

    def wait(self) -> None:
        """Returns once everything is on disk; raises what went wrong while it was written."""
        self._manager.wait_until_finished()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @contextlib.contextmanager
    def _readable(self, step: int) -> Iterator[None]:
        """Turns what Orbax raises on a damaged folder, which can be anything, into one line."""
        try:
            yield
        except (MemoryError, jax.errors.JaxRuntimeError):  # no fault of the folder's
            raise
        except Exception as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            said = said.replace(str(self._shown), str(self._folder))
            raise InputError(
                f"{self._folder / str(step)}: cannot read this checkpoint ({said[:200]}); if it is damaged, move it "
                "away to use the one before"
            ) from error

    def _saved_leaves(self, step: int) -> dict[str, tuple[tuple[int, ...], str]]:
        metadata = self._manager.item_metadata(step)["state"]
        tree = getattr(metadata, "tree", metadata)
        return {name: (tuple(leaf.shape), str(np.dtype(leaf.dtype))) for name, leaf in _named_leaves(tree)}


def read_run(workdir: str | Path, *, best: bool = False) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """`(state, config, data)` of a run's latest checkpoint, or of that with the lowest held-out loss.

    Raises:
      InputError: there is no run, or no finished checkpoint in it, or that is damaged.
    """
    with _finished(workdir, best) as (checkpoints, step):
        return checkpoints.restore_items(step)


def read_config(workdir: str | Path) -> dict[str, Any]:
    """The config of a run's latest checkpoint.

    Raises:
      InputError: as `read_run`.
    """
    with _finished(workdir, best=False) as (checkpoints, step):
        return checkpoints.restore_config(step)


@contextlib.contextmanager
def _finished(workdir: str | Path, best: bool) -> Iterator[tuple[Checkpoints, int]]:
    folder = as_path(workdir, "workdir") / "checkpoints"
    with Checkpoints(folder, read_only=True) as checkpoints:
        step = checkpoints.best_step if best else checkpoints.latest_step
        if step is None:
            raise InputError(f"{folder}: no finished checkpoint; run train.py with --workdir={workdir} to go on")
        yield checkpoints, step


def _metric(metrics: Mapping[str, float]) -> float:
    return metrics[_METRIC]


def _abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [("/".join(str(getattr(key, "key", key)) for key in path), leaf) for path, leaf in flat]


def _check_leaves(saved: dict[str, tuple[tuple[int, ...], str]], target: Any, step: int) -> None:
    """Orbax does not name the leaf that does not fit; this does."""
    wanted = {name: (tuple(leaf.shape), str(leaf.dtype)) for name, leaf in _named_leaves(target)}
    for name in sorted(saved.keys() | wanted.keys(), key=lambda name: (not name.startswith("params"), name)):
        if saved.get(name) != wanted.get(name):
            raise InputError(
                f"checkpoint of step {step}, state/{name}: the config asks for {_describe(wanted.get(name))}, the "
                f"checkpoint holds {_describe(saved.get(name))}; use the config it was made with or another --workdir"
            )


def _describe(leaf: tuple[tuple[int, ...], str] | None) -> str:
    return "nothing" if leaf is None else f"{leaf[1]}{list(leaf[0])}"
