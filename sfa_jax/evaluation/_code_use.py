"""How much of a code is used."""

import numpy as np

_ACTIVE_VARIANCE = 0.01  # of the mean of a Gaussian code's number, whose prior has variance 1
_LIVE_SHARE = 0.01  # of images that a sparse code's number is active on


def code_use(codes: np.ndarray, *, kind: str) -> dict[str, float]:
    """Counts of numbers of a code that are used.

    Args:
      codes: of held-out images, `[n, code_size]`; of Gaussian ones the means.
      kind: "gaussian", "sparse" or any other.

    Returns:
      Of a Gaussian code `active_units`: numbers whose mean varies by more than 0.01 over images. Of a sparse one
      `live_units` (active, that is above 0, on at least 1 % of the images), `active_share` of all numbers and
      `active_share_of_live` of the live ones, both of an image on average. Else nothing.

    References:
      Burda et al., "Importance weighted autoencoders", arXiv 1509.00519, section 5 (active units).

    >>> code_use(np.array([[1.0, 0.0], [3.0, 0.0]]), kind="gaussian")
    {'active_units': 1.0}
    """
    if kind == "gaussian":
        return {"active_units": float(np.sum(codes.var(axis=0) > _ACTIVE_VARIANCE))}
    if kind != "sparse":
        return {}
    active = codes > 0
    live = active.mean(axis=0) >= _LIVE_SHARE
    of_live = float(active[:, live].mean()) if live.any() else 0.0
    return {"live_units": float(live.sum()), "active_share": float(active.mean()), "active_share_of_live": of_live}
