"""The job of plain autoencoders: dense, denoising, variational, convolutional sparse."""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax import autoencoders, evaluation
from sfa_jax._errors import InputError
from sfa_jax.autoencoders import Autoencoder
from sfa_jax.data import FrameStore
from sfa_jax.evaluation import Picture
from sfa_jax.training._chunks import check_frames, in_chunks
from sfa_jax.training._image_job import ImageJob, ImageModel
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._measured_job import check_baselines
from sfa_jax.training._options import check_autoencoder
from sfa_jax.training._steps import TrainState, make_optimizer, steps_of

_CHUNK = 64
_DRAWS = 16  # of each code, for the evidence lower bound

_MOST_SAMPLES = 240  # in one picture
_PAIRS = 4  # of images that are interpolated between
_SHOWN = ("gaussian_noise", "masking_noise")  # of a run that is trained without corruption
_FEW = 10  # labels of each class
_PROBED = 20_000  # training images, and held-out ones, at most
_MEAN_IMAGES = 5000  # training images whose mean holes are filled with, for comparison
CORRUPTIONS = ("gaussian_noise", "masking_noise", "salt_and_pepper", "random_erase", "downsample")

_log = logging.getLogger("sfa_jax")

Corrupt = Callable[[jax.Array, jax.Array], jax.Array]


class AutoencoderJob(ImageJob):
    """`init`, `update`, `evaluate` and `finish` of an `Autoencoder`.

    Args:
      config: the resolved config.
      inputs: the data; every frame is an image of its own.

    Raises:
      InputError: a size does not fit the images.
    """

    fixed: tuple[str, ...] = ("network.",)

    def __init__(self, config: Any, inputs: Inputs):
        self._network = make_plain_autoencoder(config.network)
        self._corrupt = make_corruption(config.corruption)
        shape = inputs.store.shape
        images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        for part, check in (
            ("network", lambda: self._network.check(shape)),
            ("corruption", lambda: jax.eval_shape(self._corrupt, jax.random.key(0), images)),
        ):
            try:
                check()
            except ValueError as error:
                raise InputError(f"{part}.{error}") from None
        n_steps = steps_of(config.train, inputs.sampler)
        super().__init__(config, inputs, self._network, make_optimizer(config.train, n_steps), n_steps)
        self._measure = jax.jit(self._measured)

    @staticmethod
    def check(config: Any) -> None:
        """Raises what the constructor would of the config alone, before any data are read.

        Raises:
          InputError: an option is out of its range, or a choice has an unknown name.
        """
        check_autoencoder(config)
        check_baselines(config, AutoencoderJob.baselines)
        make_plain_autoencoder(config.network)
        make_corruption(config.corruption)
        make_optimizer(config.train, n_steps=1)

    def _blank_readout(self) -> dict[str, np.ndarray]:
        if self._network.code == "gaussian":  # it is sampled from the prior
            return super()._blank_readout()
        codes = jax.ShapeDtypeStruct((2, self._network.code_size), jnp.float32)
        fitted = jax.eval_shape(autoencoders.fit_code_distribution, codes)
        return super()._blank_readout() | {k: np.zeros(x.shape, x.dtype) for k, x in fitted._asdict().items()}

    def _readout(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        if self._network.code == "gaussian":
            return super()._readout(codes)
        fitted = jax.jit(autoencoders.fit_code_distribution)(codes)
        return super()._readout(codes) | {name: np.asarray(x) for name, x in fitted._asdict().items()}

    @staticmethod
    def restore(config: Any, state: Mapping[str, Any], frame_shape: tuple[int, ...]) -> "AutoencoderModel":
        """What a run has learned, from the state that its checkpoint holds."""
        variables = {"params": state["params"], "batch_stats": state["batch_stats"]}
        return AutoencoderModel(make_plain_autoencoder(config.network), variables, state["readout"], frame_shape)

    @property
    def _loss_name(self) -> str:
        error = "-log p, nats" if self._network.likelihood == "bernoulli" else "squared error"
        penalty = {"sparse": " + lambda times l1", "gaussian": " + beta times KL"}.get(self._network.code, "")
        return f"{error}{penalty}, an image"

    @property
    def _name(self) -> str:
        return "autoencoder"

    def _losses(
        self, params: Any, key: jax.Array, clean: jax.Array, *, train: bool, grown: ArrayLike = 1.0
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Of clean images in [0, 1], corrupted before they are encoded; `grown` is the share of lambda."""
        corrupt_key, code_key = jax.random.split(key)
        weights = self._config.objective
        return self._network.loss(
            params,
            code_key,
            self._corrupt(corrupt_key, clean),
            clean,
            l1_weight=weights.l1_weight * grown,
            beta=weights.beta,
            train=train,
        )

    def _measured(self, params: Any, key: jax.Array, images: jax.Array) -> dict[str, jax.Array]:
        """The loss and its terms of held-out images, one draw of code and corruption each."""
        losses, terms = self._losses(params, key, autoencoders.as_float(images), train=False)
        return {"loss": losses, **terms}

    def _held_out_loss(self, state: TrainState, drawn: np.ndarray) -> float:
        del drawn
        return float(np.concatenate([found["loss"] for found in self._every_draw(state, 1)]).mean())

    def _every_draw(self, state: TrainState, n_draws: int) -> list[dict[str, np.ndarray]]:
        """`_measured` of all held-out images, for each of several draws; always the same ones."""
        params = jax.device_put(state.params, jax.local_devices()[0])
        found = []
        for draw in range(n_draws):
            for start in range(0, len(self._held_out), _CHUNK):
                key = jax.random.fold_in(jax.random.key(draw), start)
                part = self._held_out[start : start + _CHUNK]
                padded = np.concatenate([part, np.zeros((_CHUNK - len(part), *part.shape[1:]), np.uint8)])
                found.append({k: np.asarray(v)[: len(part)] for k, v in self._measure(params, key, padded).items()})
        return found

    def _own_measures(
        self, state: TrainState, model: Any, codes: Sequence[np.ndarray], poll: Callable[[], None]
    ) -> tuple[dict[str, float], list[Picture]]:
        held = np.concatenate([y[kept] for y, kept in zip(codes, self._is_held_out, strict=True)])
        held = held if len(held) else np.concatenate(codes)
        draws = self._every_draw(state, _DRAWS if self._network.code == "gaussian" else 1)
        terms = {name: float(np.concatenate([found[name] for found in draws]).mean()) for name in draws[0]}
        measures = {f"held_out/{name}": value for name, value in terms.items()}
        measures |= evaluation.code_use(held, kind=self._network.code)
        if self._network.code == "gaussian" and self._network.likelihood == "bernoulli":
            measures["elbo"] = -(terms["reconstruction"] + terms["kl"])
        poll()
        measures |= self._probes(codes)
        poll()
        corrupted, hole = self._corrupted()
        clean = self._held_out / np.float32(255)
        mean = np.concatenate(self._training(_MEAN_IMAGES)).mean(axis=0) / np.float32(255)
        restored = evaluation.restore(model.reconstruct, corrupted, hole)
        factor = self._config.corruption.factor
        found = evaluation.restoration_measures(restored, corrupted, clean, hole, mean, factor)
        measures |= {f"restored/{name}": value for name, value in found.items()}
        poll()
        trained = [name for name in self._config.corruption.names if name in corrupted]
        shown = trained or [name for name in _SHOWN if name in corrupted]
        some = _spread(len(clean))
        images = clean[some], *({name: x[name][some] for name in shown} for x in (corrupted, restored))
        return measures, [
            Picture("codes.png", lambda folder: evaluation.plot_codes(folder, held, self._network.code)),
            Picture("restorations.png", lambda folder: evaluation.plot_restorations(folder, *images)),
            Picture("samples.png", lambda folder: model.plot_samples(folder, seed=self._config.seed)),
            Picture("interpolations.png", lambda folder: model.plot_interpolations(folder, self._held_out)),
        ]

    def _probes(self, codes: Sequence[np.ndarray]) -> dict[str, float]:
        """How well classes are read from codes, where the images have labels.

        Beside them stand pixels, principal components, and the codes of the network before it has learned anything.
        """
        if not self._n_held_out or any("label" not in run.truth for run in self._runs):
            return {}
        out = np.concatenate(self._is_held_out)
        rows = [every[:: -(-len(every) // _PROBED)] for every in (np.flatnonzero(~out), np.flatnonzero(out))]
        if sum(map(len, rows)) < len(out):
            _log.info("probes: %d training and %d held-out images, evenly spaced", *map(len, rows))

        def split(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
            every = np.concatenate(parts)
            return tuple(every[which] for which in rows)

        train, held_out = split([run.truth["label"] for run in self._runs])
        if len(np.unique(train)) < 2:
            return {}
        images = [FrameStore(self._runs).gather(which) for which in rows]
        pixels = tuple(x.reshape(len(x), -1) / np.float32(255) for x in images)
        mean, components = evaluation.principal_components(pixels[0], self._network.code_size)
        untrained = self._model(self.init())
        every = {
            "": split(codes),
            "baseline/pixels/": pixels,
            "baseline/pca/": tuple((x - mean) @ components.T for x in pixels),
            "baseline/untrained/": tuple(map(untrained, images)),
        }
        fewest = int(np.unique(train, return_counts=True)[1].min())
        found = {}
        for prefix, (codes_train, codes_held) in every.items():
            for name, per_class in (("probe/all_labels", None), (f"probe/{_FEW}_a_class", _FEW)):
                if (per_class or 0) <= fewest:
                    data = codes_train, train, codes_held, held_out
                    found[prefix + name] = evaluation.probe_accuracy(*data, per_class=per_class)
        return found

    def _corrupted(self) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Held-out images in every corruption that fits them, at the strengths of the config; always the same ones.

        And the pixels that "random_erase" has erased; None where it does not fit.
        """
        clean, found, key = self._held_out / np.float32(255), {}, jax.random.key(0)
        for name in CORRUPTIONS:
            corrupt = jax.jit(make_corruption(self._config.corruption, [name]))
            try:
                found[name] = np.asarray(corrupt(key, clean))
            except ValueError as error:
                _log.info("corruption %s is not measured: %s", name, error)
        if "random_erase" not in found:
            return found, None
        return found, np.asarray(autoencoders.random_hole(key, clean.shape, size=self._config.corruption.size))

    def _loss_of_images(
        self, params: Any, state: TrainState, key: jax.Array, images: jax.Array, weight: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array], Any]:
        del weight
        growing = self._config.objective.l1_warmup * self.n_steps
        grown = jnp.minimum(1.0, (state.step + 1) / max(growing, 1.0))
        losses, terms = self._losses(params, key, images, train=True, grown=grown)
        return losses, terms, state.batch_stats


class AutoencoderModel(ImageModel):
    """A finished run: images to codes and back, and images that no image gave.

    Attributes:
      network, variables, readout, frame_shape: as in `ImageModel`; the readout of codes that are not Gaussian also
        holds `quantiles` and `cholesky` of those of training images (`autoencoders.CodeDistribution`).
    """

    def __init__(self, network: Autoencoder, variables: Any, readout: dict[str, Any], frame_shape: tuple[int, ...]):
        super().__init__(network, variables, readout, frame_shape)

        def both(params: Any, x: jax.Array) -> jax.Array:
            mean, log_variance = map(jnp.asarray, network.posterior(params, x))
            return jnp.concatenate([mean, log_variance], axis=1)

        self._posterior = jax.jit(both)  # of Gaussian codes

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Codes `[n, code_size]`: Gaussian ones from their prior, others from the distribution of training codes."""
        key = jax.random.key(seed)
        if self.network.code == "gaussian":
            return np.asarray(autoencoders.sample_prior(key, n, self.network.code_size))
        fitted = autoencoders.CodeDistribution(*(jnp.asarray(self.readout[k]) for k in ("quantiles", "cholesky")))
        return np.asarray(jax.jit(autoencoders.sample_codes, static_argnums=2)(key, fitted, n))

    def interpolate(self, first: np.ndarray, last: np.ndarray, n_steps: int = 8) -> np.ndarray:
        """Codes `[n, n_steps, code_size]` between those of two sets of images `[n, height, width, channel]`.

        Gaussian codes go along an arc, so that they keep the length that the prior gives them; others straight.
        """
        codes = self(first), self(last)
        gaussian = self.network.code == "gaussian"
        return np.asarray(autoencoders.interpolate(*codes, n_steps, path="spherical" if gaussian else "linear"))

    def plot_samples(self, folder: Path, *, n: int = 60, seed: int = 0) -> None:
        """Draws `samples.png`: n images, at most 240, that no image gave."""
        source = "the prior" if self.network.code == "gaussian" else "a Gaussian copula of the training images' codes"
        drawn = self.decode(self.sample(min(n, _MOST_SAMPLES), seed=seed))
        evaluation.plot_samples(folder, drawn, f"Drawn from codes sampled from {source}")

    def plot_interpolations(self, folder: Path, images: np.ndarray) -> None:
        """Draws `interpolations.png` between some images (uint8), if there are two."""
        chosen = images[_spread(len(images), 2 * _PAIRS)]
        first, last = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 : 2 * (len(chosen) // 2)]
        if not len(first):
            return
        codes = self.interpolate(first, last)
        drawn = self.decode(codes.reshape(-1, codes.shape[-1])).reshape(*codes.shape[:2], *self.frame_shape)
        pairs = list(zip(first / np.float32(255), last / np.float32(255), strict=True))
        evaluation.plot_interpolations(folder, pairs, drawn)

    def posterior(self, frames: np.ndarray) -> autoencoders.Posterior:
        """Means and logarithms of the variances `[n, code_size]` of the codes of images; None where they have none."""
        check_frames(frames, self.frame_shape)
        if self.network.code != "gaussian":
            return autoencoders.Posterior(self(frames), None)
        both = in_chunks(lambda x: self._posterior(self.variables["params"], x), frames, _CHUNK)
        return autoencoders.Posterior(*np.split(both, 2, axis=1))


def _spread(n: int, most: int = 8) -> np.ndarray:
    return np.linspace(0, n - 1, min(most, n)).astype(int)


def make_plain_autoencoder(config: Any) -> Autoencoder:
    """The autoencoder that `config.network` describes.

    Raises:
      InputError: an unknown choice, or a size out of its range.
    """
    try:
        return Autoencoder(**config.to_dict())
    except ValueError as error:
        raise InputError(f"network.{error}") from None


def make_corruption(config: Any, names: Sequence[str] | None = None) -> Corrupt:
    """What is done to images before they are encoded: to each one of some corruptions.

    Args:
      config: `config.corruption`, which holds the strengths.
      names: of the corruptions; by default the config's.

    Raises:
      InputError: a name is unknown, or there is none.
    """
    names = config.names if names is None else names
    corruptions: dict[str, Corrupt] = {
        "none": lambda key, images: images,
        "gaussian_noise": functools.partial(autoencoders.gaussian_noise, sigma=config.sigma),
        "masking_noise": functools.partial(autoencoders.masking_noise, share=config.share),
        "salt_and_pepper": functools.partial(autoencoders.salt_and_pepper, share=config.share),
        "random_erase": functools.partial(autoencoders.random_erase, size=config.size, value=config.value),
        "downsample": lambda key, images: autoencoders.downsample(images, factor=config.factor),
    }
    if not names or not set(names) <= corruptions.keys():
        raise InputError(
            f"corruption.names: expected one or more of {tuple(corruptions)}, got {tuple(names)}; several are given as "
            "--config.corruption.names=\"('none','downsample')\""
        )
    return functools.partial(autoencoders.one_of, corruptions=[corruptions[name] for name in names])
