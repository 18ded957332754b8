"""Controls of a code on held-out frames: is each feature slow because of the frames, or because of memory?"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax.evaluation._measures import run_deltas
from sfa_jax.slowness import memory_reliance, shuffle_control_delta

_SHUFFLED_FRAMES = 4_000  # counted over all orders
_CHUNK = 512  # frames coded at once without memory


def control_measures(
    code: Callable[[np.ndarray], np.ndarray],
    code_without_memory: Callable[[np.ndarray], np.ndarray],
    frames: Sequence[np.ndarray],
    codes: Sequence[np.ndarray],
    *,
    key: jax.Array,
) -> dict[str, float]:
    """Measure, for each feature, what its slowness owes to memory.

    Args:
      code: frames `[time, ...]` in order to their code `[time, dim]`, the state carried as usual.
      code_without_memory: the same with y_{t-1} replaced by a constant at every frame, so that the code of a frame is a
        function of that frame alone.
      frames: frames of each held-out sequence.
      codes: their code in true order.
      key: random key of the shuffled orders.

    Returns:
      `ablated_delta/k`, the Delta of feature k without memory, to be compared with its `delta/k`;
      `memory_reliance/k`, the share of its variance lost then; `shuffle_control_delta/k`, its Delta on shuffled frames
      of the longest sequence; and the means of the last two over features. Values that do not exist are left out: a
      feature that is constant without memory has no Delta.
    """
    chunks = [part[i : i + _CHUNK] for part in frames for i in range(0, len(part), _CHUNK)]
    flat = np.concatenate([code_without_memory(chunk) for chunk in chunks])
    without = np.split(flat, np.cumsum([len(part) for part in frames])[:-1])
    longest = max(frames, key=len)[:_SHUFFLED_FRAMES]
    n_shuffles = min(_SHUFFLED_FRAMES // len(longest), 20) or 1
    shuffled = shuffle_control_delta(
        lambda x: jnp.asarray(code(np.asarray(x))), np.asarray(longest), key, n_shuffles=n_shuffles
    )
    found = {
        "ablated_delta": run_deltas(without),
        "memory_reliance": np.asarray(_memory_reliance(np.concatenate(codes), flat)),
        "shuffle_control_delta": np.asarray(shuffled),
    }
    measures = {f"{name}/{k}": float(value) for name, values in found.items() for k, value in enumerate(values)}
    for name in ("memory_reliance", "shuffle_control_delta"):
        if np.isfinite(found[name]).any():
            measures[name] = float(np.nanmean(found[name]))
    return {name: value for name, value in measures.items() if np.isfinite(value)}


_memory_reliance = jax.jit(memory_reliance)
