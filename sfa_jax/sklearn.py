"""Slow feature analysis as a scikit-learn transformer; needs the extra `sklearn`.

A shell only: the maths is that of `sfa_jax.slowness`, in float64 whatever jax's default is.
"""

from typing import Any, Self

import jax
import numpy as np
from numpy.typing import ArrayLike

from sfa_jax import slowness
from sfa_jax._fork import check_not_forked
from sfa_jax.slowness._batch import as_whole
from sfa_jax.slowness._runs import as_rcond, check_varies, stream

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f"sfa_jax.sklearn: needs scikit-learn 1.6 or later ({error}); install it with `pip install 'sfa_jax[sklearn]'`"
    ) from error

__all__ = ["SFA"]

_ROWS = 1 << 14  # that are transformed at once


class SFA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Linear slow feature analysis: the projections of unit variance that change least from row to row.

    Minimises Delta(y) = <(y_t - y_{t-lag})^2> under <y> = 0, <y^2> = 1 and no correlation with slower features. Rows
    are frames in order of time, so what reorders or skips rows takes the slowness away: split with `TimeSeriesSplit`.
    Put `PolynomialFeatures` before it for non-linear features. Passes all of scikit-learn's `check_estimator`.

    Args:
      n_components: how many features, 1 to the number of input features; all of them if None.
      lag: distance of the two rows of a pair, in rows.
      rcond: directions in which the correlation matrix has an eigenvalue of at most `rcond` times its largest are left
        out, in [0, 1); the machine epsilon times the number of input features, at least 100, if None.

    Attributes:
      components_: `[n_components, n_features]`, slowest first, signs fixed; rows beyond `rank_` are 0.
      mean_: `[n_features]`, taken off the input.
      delta_values_: `[n_components]`, Delta of each output on the rows fitted, per `lag`; nan beyond `rank_`.
      rank_: how many dimensions of the data are above the cut-off.
      n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    References:
      Wiskott & Sejnowski, "Slow feature analysis: unsupervised learning of invariances", Neural Computation 2002.

    >>> t = np.linspace(0, 2 * np.pi, 500)
    >>> sfa = SFA(n_components=1).fit(np.stack([np.sin(t) + np.cos(11 * t), np.cos(11 * t)], axis=1))
    >>> (sfa.components_ / sfa.components_[0, 0]).round(2).tolist(), sfa.delta_values_.round(4).tolist()
    ([[1.0, -1.0]], [0.0002])
    """

    def __init__(self, n_components: int | None = None, *, lag: int = 1, rcond: float | None = None) -> None:
        self.n_components = n_components
        self.lag = lag
        self.rcond = rcond

    def fit(self, X: ArrayLike, y: Any = None, *, run_id: ArrayLike | None = None) -> Self:
        """Fits to one run of frames, or to several below each other; forgets what was fitted before.

        Args:
          X: `[n_samples, n_features]`, the frames in order of time.
          y: ignored.
          run_id: `[n_samples]`, the run of each row, numbers or names; a new run starts wherever it changes, and no
            pair crosses from one to the next. All rows are one run if None. For a list of runs:
            `fit(np.concatenate(runs), run_id=np.repeat(np.arange(len(runs)), [len(run) for run in runs]))`; in a
            pipeline, `fit(X, sfa__run_id=run_id)`.

        Returns:
          The estimator.

        Raises:
          ValueError: no run is longer than the lag, values are not finite, every feature is constant, a shape is wrong,
            or an option is out of its range.
          RuntimeError: this process was forked from one that has used jax.
          TypeError: `X` is sparse, or `n_components` or `lag` is not a whole number.
        """
        rows = self._rows(X, reset=True)
        self._check_options()
        runs = _split(rows, run_id)
        longest = max(len(run) for run in runs)
        if longest <= self.lag:
            raise ValueError(
                f"X: expected a run of more than lag = {self.lag} samples, the longest has {longest} "
                f"sample{'s' * (longest > 1)}; give more rows or a smaller lag"
            )
        moments = self._moments_after(None, runs)
        model = self._solved(moments)
        check_varies(model.rank, "X")
        return self._keep(moments, model)

    def partial_fit(self, X: ArrayLike, y: Any = None, *, new_run: bool = False) -> Self:
        """Adds the next rows of the run that the last call of `fit` or `partial_fit` left off in.

        Chunks may have any length: pairs across the border of two chunks count, so the result is that of `fit` on all
        rows at once. Every call solves anew. Until some feature has varied and some run was longer than the lag, the
        estimator counts as not fitted.

        Args:
          X: `[n_samples, n_features]`, the frames that follow.
          y: ignored.
          new_run: `X` starts another run: no pair reaches back from it.

        Returns:
          The estimator.

        Raises:
          ValueError: as `fit`, but for too few rows and constant features; or `lag` was changed since the first call.
          TypeError: as `fit`.
        """
        moments = getattr(self, "_moments", None)
        rows = self._rows(X, reset=moments is None)
        self._check_options()
        if moments is not None and len(moments.tail) != self.lag:
            raise ValueError(
                f"lag: expected {len(moments.tail)}, that of the rows before, got {self.lag}; fit another estimator"
            )
        moments = self._moments_after(moments, [rows], follows=not new_run)
        model = self._solved(moments)
        if moments.n_pairs == 0 or model.rank == 0:
            self._moments = moments
            return self
        return self._keep(moments, model)

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Slow features of rows, y = (x - mean) W'; each row alone counts.

        Args:
          X: `[n_samples, n_features]`.

        Returns:
          `[n_samples, n_components]`, float32 for float32 input, else float64; 0 in the components beyond `rank_`.
          Named `sfa0`, `sfa1`, ... where `set_output` asks for a data frame.

        Raises:
          ValueError: values are not finite, or `X` has another number of features.
          NotFittedError: nothing was fitted yet.
        """
        check_is_fitted(
            self,
            msg="This %(name)s has no components yet: call 'fit', or 'partial_fit' with rows that vary and more of "
            "them in a run than the lag",
        )
        rows = self._rows(X, reset=False)
        y = np.empty((len(rows), len(self.components_)), rows.dtype)
        for start in range(0, len(rows), _ROWS):  # by NumPy, which also works in a forked process
            y[start : start + _ROWS] = (rows[start : start + _ROWS] - self.mean_) @ self.components_.T
        return y

    def _rows(self, X: ArrayLike, *, reset: bool) -> np.ndarray:
        return validate_data(self, X, dtype=[np.float64, np.float32], reset=reset)

    def _check_options(self) -> None:
        if as_whole(self.lag, "lag") < 1:
            raise ValueError(f"lag: expected at least 1 row, got {self.lag}")
        if (
            self.n_components is not None
            and not 1 <= as_whole(self.n_components, "n_components") <= self.n_features_in_
        ):
            raise ValueError(
                f"n_components: expected 1 to {self.n_features_in_}, the number of features of X, got "
                f"{self.n_components}; ask for fewer, for all by None, or expand X first (PolynomialFeatures)"
            )
        as_rcond(self.rcond)

    def _moments_after(
        self, moments: slowness.Moments | None, runs: list[np.ndarray], *, follows: bool = False
    ) -> slowness.Moments:
        """`moments` and those of the runs; the first run goes on where `moments` left off if it `follows`."""
        check_not_forked()
        with jax.enable_x64(True):
            if moments is None:
                init = jax.jit(slowness.init_moments, static_argnums=0, static_argnames="lag")
                moments = init(self.n_features_in_, lag=int(self.lag))
            update = jax.jit(slowness.update_moments)

            def add(so_far: slowness.Moments, rows: np.ndarray, *, new_run: bool, mask: np.ndarray) -> slowness.Moments:
                return update(so_far, rows, new_run=new_run and not follows, mask=mask)

            found = jax.device_get(stream(runs, moments, add))  # NumPy arrays can be pickled for another machine
        # The last chunk was padded, so what its tail holds is not the last rows.
        rows = np.concatenate([moments.tail, runs[-1]])
        valid = np.concatenate([np.asarray(moments.tail_valid) * follows, np.ones(len(runs[-1]))])
        return found._replace(tail=rows[-self.lag :], tail_valid=valid[-self.lag :])

    def _solved(self, moments: slowness.Moments) -> slowness.LinearSFA:
        # All components, and `_keep` takes the first: another number of them needs no new compilation.
        with jax.enable_x64(True):
            return jax.device_get(jax.jit(slowness.solve)(moments, rcond=as_rcond(self.rcond)))

    def _keep(self, moments: slowness.Moments, model: slowness.LinearSFA) -> Self:
        self._moments = moments
        self.components_, self.delta_values_ = model.components[: self.n_components], model.delta[: self.n_components]
        self.mean_, self.rank_ = model.mean, int(model.rank)
        return self

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "components_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _split(X: np.ndarray, run_id: ArrayLike | None) -> list[np.ndarray]:
    """The stretches of rows with the same `run_id`."""
    if run_id is None:
        return [X]
    run_id = np.asarray(run_id)
    if run_id.shape != (len(X),):
        raise ValueError(f"run_id: expected shape ({len(X)},), one entry a row of X, got {run_id.shape}")
    return np.split(X, np.flatnonzero(run_id[1:] != run_id[:-1]) + 1)
