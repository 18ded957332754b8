"""Orbax checkpoints: the only module that knows the library.

Each step's folder has three items: `state`, a nested dict of arrays that can be restored without any code of ours;
`config`, the resolved config as JSON; `data`, the position in the data as JSON.
"""

import contextlib
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
            create=not read_only,
        )
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "config": ocp.JsonCheckpointHandler(),
            "data": ocp.JsonCheckpointHandler(),
        }
        self._folder = folder
        if not folder.is_dir() and (read_only or folder.exists()):
            raise InputError(f"{folder}: expected a folder of checkpoints; give the --workdir of a run of train.py")
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options, item_handlers=handlers)

    @property
    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        return self._manager.best_step()

    def save(
        self, state: TrainState, config: Mapping[str, Any], data: Mapping[str, Any], held_out_loss: float | None
    ) -> None:
        """Starts writing; returns once the arrays are copied, so that the state may be donated afterwards."""
        step = int(state.step)
        if step == self.latest_step:
            return  # a finished run that is measured again
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(flax.serialization.to_state_dict(state)),
            config=ocp.args.JsonSave(dict(config)),
            data=ocp.args.JsonSave(dict(data)),
        )
        metrics = None if held_out_loss is None else {_METRIC: held_out_loss}
        self._manager.save(step, args=items, metrics=metrics, force=True)

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
            state = flax.serialization.from_state_dict(like, restored["state"])
            return state, restored["config"], restored["data"]

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
        self._manager.close()

    @contextlib.contextmanager
    def _readable(self, step: int) -> Iterator[None]:
        """Turns whatever Orbax raises on a damaged folder into one line."""
        try:
            yield
        except Exception as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"{self._folder / str(step)}: cannot read this checkpoint ({said[:200]}); move it away to use the one "
                "before, if there is one"
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
    folder = Path(workdir) / "checkpoints"
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
