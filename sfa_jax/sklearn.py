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
    Put `PolynomialFeatures` before it for non-linear features. Passes all of scikit-learn's `check_estimator`. `score`
    is minus the Delta of other rows, so that `GridSearchCV(SFA(), grid, cv=TimeSeriesSplit())` needs no `y`.

    Args:
      n_components: how many features, 1 to the number of input features; all of them if None.
      lag: distance of the two rows of a pair, in rows.
      rcond: directions in which the correlation matrix has an eigenvalue of at most `rcond` times its largest are left
        out, in [0, 1); the machine epsilon times the number of input features, at least 100, if None.

    Attributes:
      components_: `[n_components, n_features]`, slowest first, signs fixed; rows beyond `rank_` are 0.
      mean_: `[n_features]`, taken off the input.
      delta_values_: `[n_components]`, Delta of each output on the rows fitted, per `lag`; nan beyond `rank_`. One that
        rounding hides (as a rule below 1e-14) is given as a bound.
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
          run_id: `[n_samples]`, the run of each row, numbers or names, none missing; a new run starts wherever it
            changes, and no pair crosses from one to the next. All rows are one run if None. For a list of runs:
            `fit(np.concatenate(runs), run_id=np.repeat(np.arange(len(runs)), [len(run) for run in runs]))`; in a
            pipeline, `fit(X, sfa__run_id=run_id)`.

        Returns:
          The estimator.

        Raises:
          ValueError: no run is longer than the lag, values are not finite, every feature is constant, a shape is wrong,
            a `run_id` is missing or names are mixed with numbers, or an option is out of its range.
          RuntimeError: this process was forked from one that has used jax.
          TypeError: `X` is sparse, or `n_components` or `lag` is not a whole number.
        """
        rows = self._rows(X, reset=True)
        self._check_options()
        runs = self._runs(rows, run_id)
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
        self._check_fitted()
        rows = self._rows(X, reset=False)
        y = np.empty((len(rows), len(self.components_)), rows.dtype)
        for start in range(0, len(rows), _ROWS):  # by NumPy, which also works in a forked process
            y[start : start + _ROWS] = (rows[start : start + _ROWS] - self.mean_) @ self.components_.T
        return y

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Rows from their slow features, the best linear guess: x = mean + y W C.

        W are the components and C the covariance of the rows fitted, for which this has the least squared error.
        `transform` gives the features again; the rows themselves come back, up to rounding, where all `rank_` features
        are there. Behind `PolynomialFeatures` the rows are the expanded ones, which are no one's products.

        Args:
          X: slow features, `[n_samples, n_components]`; what is beyond `rank_` is not looked at.

        Returns:
          `[n_samples, n_features]`, float32 for float32 input, else float64.

        Raises:
          ValueError: values are not finite, or `X` has another number of features.
          NotFittedError: nothing was fitted yet.
        """
        self._check_fitted()
        y = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if y.shape[1] != len(self.components_):
            raise ValueError(f"X: expected {len(self.components_)} slow features a row, got {y.shape[1]}")
        covariance = self._moments.scatter / self._moments.n_frames
        return (y @ (self.components_ @ covariance) + self.mean_).astype(y.dtype, copy=False)

    def score(self, X: ArrayLike, y: Any = None, *, run_id: ArrayLike | None = None) -> float:
        """Minus the Delta of the features on these rows, mean over features: the larger, the slower.

        The mean is over the first `rank_` features that vary on these rows, each relative to its variance there. Of
        more features it is as a rule less: compare other options at one `n_components`.

        Args:
          X: `[n_samples, n_features]`, as a rule other rows than those fitted, in order of time.
          y: ignored.
          run_id: as in `fit`. `GridSearchCV` hands it on, to `fit` as well, where metadata routing is enabled and
            `set_fit_request(run_id=True)` and `set_score_request(run_id=True)` ask for it.

        Returns:
          A number of at most 0; white noise has -2.

        Raises:
          ValueError: no run is longer than the lag, no feature varies, or as `transform` and `fit`.
          NotFittedError: nothing was fitted yet.
        """
        self._check_fitted()
        rows = self._rows(X, reset=False)
        runs = self._runs(rows.astype(np.float64), run_id)
        components = self.components_[: self.rank_]
        outputs = [(run - self.mean_) @ components.T for run in runs]
        change = np.concatenate([run[self.lag :] - run[: -self.lag] for run in outputs])
        values = np.concatenate(outputs)
        variance = np.var(values - values[:1], axis=0)
        varies = variance > 0
        if not varies.any():
            raise ValueError("X: every slow feature is constant on these rows; give rows that vary")
        return -float(np.mean(np.mean(change[:, varies] ** 2, axis=0) / variance[varies]))

    def _check_fitted(self) -> None:
        check_is_fitted(
            self,
            msg="This %(name)s has no components yet: call 'fit', or 'partial_fit' with rows that vary and more of "
            "them in a run than the lag",
        )

    def _runs(self, rows: np.ndarray, run_id: ArrayLike | None) -> list[np.ndarray]:
        """The runs of rows, if one of them has a pair."""
        runs = _split(rows, run_id)
        longest = max(len(run) for run in runs)
        if longest <= self.lag:
            raise ValueError(
                f"X: expected a run of more than lag = {self.lag} samples, the longest has {longest} "
                f"sample{'s' * (longest > 1)}; give more rows or a smaller lag"
            )
        return runs

    def _rows(self, X: ArrayLike, *, reset: bool) -> np.ndarray:
        several = isinstance(X, (list, tuple)) and any(getattr(run, "ndim", 0) == 2 for run in X)
        if several or getattr(X, "ndim", 0) == 3:
            came = f"a list of {len(X)} arrays" if several else f"shape {X.shape}"  # type: ignore[arg-type, union-attr]
            raise ValueError(
                f"X: expected one array [n_samples, n_features], got {came}; put the rows of several runs below each "
                "other and say which are whose: fit(np.concatenate(runs), run_id=np.repeat(np.arange(len(runs)), "
                "[len(run) for run in runs]))"
            )
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
    masked = np.ma.is_masked(run_id)
    # As objects: NumPy would make names of numbers that stand beside names.
    ids = np.asarray(run_id, dtype=object if isinstance(run_id, (list, tuple)) else None)
    if ids.shape != (len(X),):
        raise ValueError(f"run_id: expected shape ({len(X)},), one entry a row of X, got {ids.shape}")
    missing = np.flatnonzero([_is_missing(value) for value in ids] if ids.dtype == object else ids != ids)
    if masked or len(missing):
        found = repr(ids[missing[0]]) + f" at row {missing[0]}" if len(missing) else "masked ones"
        raise ValueError(
            f"run_id: expected a run for every row, got {found}; leave out the rows between runs, and give what was "
            "before and after them runs of their own"
        )
    kinds = {str if isinstance(value, (str, bytes)) else type(value) for value in ids} if ids.dtype == object else set()
    if str in kinds and len(kinds) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"run_id: expected numbers or names, got both ({names}); 1 and '1' may or may not be one run")
    return np.split(X, np.flatnonzero(ids[1:] != ids[:-1]) + 1)


def _is_missing(value: Any) -> bool:
    """Whether a value is None, or equal to nothing as NaN and NaT are; of pandas' NA not even that can be said."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True
