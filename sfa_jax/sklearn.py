"""Slow feature analysis as a scikit-learn transformer; needs the extra `sklearn`.

A shell only: the maths is that of `sfa_jax.slowness`, in float64 whatever jax's default is.
"""

import math
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
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data
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
        self._check_longest(runs)
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

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Draw rows from slow features: x = mean + y W C, with C the covariance of the rows fitted.

        Of all linear maps this one has the least squared error on the rows fitted. It is exact on them where all
        features are kept (`n_components` at least `rank_`), and `transform` of what it gives is always `y`.

        Args:
          X: slow features `[n_samples, n_components]`, as `transform` gives them.

        Returns:
          `[n_samples, n_features]`, float32 for float32 input, else float64.

        Raises:
          ValueError: values are not finite, or there is another number of features.
          NotFittedError: nothing was fitted yet.
        """
        check_is_fitted(self)
        y = check_array(X, dtype=[np.float64, np.float32])
        if y.shape[1] != len(self.components_):
            raise ValueError(
                f"X: expected slow features of shape [n_samples, {len(self.components_)}], as transform gives them, "
                f"got {y.shape}"
            )
        covariance = np.asarray(self._moments.scatter) / np.asarray(self._moments.n_frames)
        return (self.mean_ + y @ (self.components_ @ covariance)).astype(y.dtype)

    def score(self, X: ArrayLike, y: Any = None, *, run_id: ArrayLike | None = None) -> float:
        """Score rows by minus the mean Delta of their slow features, so that slower is better.

        Delta is in units of the variance on these rows, per `lag`. The mean is over all features, of which each further
        one is faster: compare estimators of one `n_components`.

        Args:
          X: `[n_samples, n_features]`, rows in order of time, such as held-out ones.
          y: ignored.
          run_id: as in `fit`.

        Returns:
          At most 0; white noise has -2.

        Raises:
          ValueError: as `fit`; no slow feature varies on these rows.
          NotFittedError: nothing was fitted yet.
        """
        code = self.transform(X).astype(np.float64)
        runs = _split(code, run_id)
        self._check_longest(runs)
        change = np.concatenate([run[self.lag :] - run[: -self.lag] for run in runs])
        variance = code.var(axis=0)
        varies = variance > (np.finfo(np.float32).eps * np.abs(code).max(axis=0, initial=0)) ** 2
        if not varies.any():
            raise ValueError("X: no slow feature varies on these rows, so that they have no score; give rows that vary")
        return -float(np.mean(np.mean(change[:, varies] ** 2, axis=0) / variance[varies]))

    def _check_longest(self, runs: list[np.ndarray]) -> None:
        longest = max(len(run) for run in runs)
        if longest <= self.lag:
            raise ValueError(
                f"X: expected a run of more than lag = {self.lag} samples, the longest has {longest} "
                f"sample{'s' * (longest > 1)}; give more rows or a smaller lag"
            )

    def _rows(self, X: ArrayLike, *, reset: bool) -> np.ndarray:
        _check_one_array(X)
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


def _check_one_array(X: Any) -> None:
    """Raises on several runs in place of one array, with the way to give them.

    Raises:
      ValueError: `X` is a list of arrays `[n_samples, n_features]`, or one array `[n_runs, n_samples, n_features]`.
    """
    several = isinstance(X, (list, tuple)) and any(np.ndim(run) >= 2 for run in X if hasattr(run, "shape"))
    if several or (hasattr(X, "shape") and len(X.shape) == 3):
        raise ValueError(
            "X: expected one array [n_samples, n_features], got several (a list of arrays, or 3 axes); give them "
            "below each other, fit(np.concatenate(runs), run_id=np.repeat(np.arange(len(runs)), [len(run) for run "
            "in runs]))"
        )


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in ("NAType", "NaTType")
    )


def _split(X: np.ndarray, run_id: ArrayLike | None) -> list[np.ndarray]:
    """The stretches of rows with the same `run_id`."""
    if run_id is None:
        return [X]
    run_id = np.asarray(run_id)
    if run_id.shape != (len(X),):
        raise ValueError(f"run_id: expected shape ({len(X)},), one entry a row of X, got {run_id.shape}")
    if run_id.dtype.kind in "fc":
        missing = np.isnan(run_id)
    elif run_id.dtype.kind in "mM":
        missing = np.isnat(run_id)
    else:
        missing = np.array([_is_missing(value) for value in run_id] if run_id.dtype == object else [False])
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(
            f"run_id: expected an id for each row, got {run_id[row]} at row {row}, of {missing.sum()} missing; take "
            "such rows out of X, or give each stretch of them an id of its own"
        )
    return np.split(X, np.flatnonzero(run_id[1:] != run_id[:-1]) + 1)
