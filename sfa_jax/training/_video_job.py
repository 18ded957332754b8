"""The job of recurrent video autoencoders."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax import evaluation
from sfa_jax._errors import InputError
from sfa_jax.autoencoders import VideoAutoencoder, as_float
from sfa_jax.data import Batch
from sfa_jax.evaluation import Picture
from sfa_jax.training._chunks import check_frames, in_chunks
from sfa_jax.training._finished import Finished
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._measured_job import Measured, MeasuredJob, Readout, check_baselines
from sfa_jax.training._options import check_video
from sfa_jax.training._parts import fit_images
from sfa_jax.training._steps import Metrics, TrainState, make_gradient_step, make_optimizer, steps_of

_CHUNK = 128  # frames encoded at once
_CLIPS = 16  # clips drawn at once
_MEASURED = 256  # held-out clips that are drawn, at most

_MEAN_CHUNK = 1024  # frames in memory at once


class VideoAutoencoderJob(MeasuredJob):
    """`init`, `update`, `evaluate` and `finish` of a `VideoAutoencoder`.

    The first frames of a clip are drawn from their codes, the last `objective.n_future` from codes that go on by
    themselves.

    Args:
      config: the resolved config.
      inputs: the data.

    Raises:
      InputError: a size does not fit the frames.
    """

    fixed: tuple[str, ...] = ("network.",)
    shared_axis = 1  # devices share the clips of a batch
    loss_name = "squared error"

    def __init__(self, config: Any, inputs: Inputs):
        self._network = make_video_autoencoder(config.network)
        super().__init__(config, inputs, self._network.code_size)
        try:
            self._network.check(self._frame_shape)
        except ValueError as error:
            raise InputError(f"network.{error}") from None
        longest, length = max(part.stop - part.start for part in self._held_out), config.data.clip_length
        if longest < length:
            raise InputError(
                f"data.clip_length: expected held-out parts of at least {length} frames, one clip, but the longest has "
                f"{longest}; hold out more, or take shorter clips"
            )
        self.n_steps = steps_of(config.train, inputs.sampler)
        self._context = config.data.clip_length - config.objective.n_future
        self._optimizer = make_optimizer(config.train, self.n_steps)
        self.update = make_gradient_step(self._loss, self._optimizer)

    @staticmethod
    def check(config: Any) -> None:
        """Raises what the constructor would of the config alone, before any data are read.

        Raises:
          InputError: an option is out of its range, or a choice has an unknown name.
        """
        check_video(config)
        check_baselines(config, VideoAutoencoderJob.baselines)
        make_video_autoencoder(config.network)
        make_optimizer(config.train, n_steps=1)

    @staticmethod
    def restore(config: Any, state: Mapping[str, Any], frame_shape: tuple[int, ...]) -> "VideoModel":
        """What a run has learned, from the state that its checkpoint holds."""
        variables = {"params": state["params"], "batch_stats": state["batch_stats"]}
        return VideoModel(make_video_autoencoder(config.network), variables, state["readout"], frame_shape)

    def init(self) -> TrainState:
        return self._begin(self._network, self._optimizer)

    def evaluate(self, state: TrainState, *, final: bool) -> tuple[Readout, Measured, dict[str, float]]:
        """Solves the readout on the training frames, and measures the loss on held-out clips.

        Raises:
          FloatingPointError: the codes of the training frames are not finite.
        """
        model = self._model(state)
        measured = self._measure(model, final)
        clips = self._held_out_clips()
        drawn, future = self._drawn(model, clips)
        true = clips / np.float32(255)
        error = np.mean((drawn - true[:, : self._context]) ** 2)
        if self._config.objective.n_future:
            error += self._config.objective.future_weight * np.mean((future - true[:, self._context :]) ** 2)
        metrics = {"loss": float(error), "effective_rank": evaluation.effective_rank_of(measured.held_out[0])}
        return self._readout(measured), measured, metrics

    def finish(
        self,
        state: TrainState,
        measured: Measured,
        records: Sequence[Mapping[str, Any]],
        poll: Callable[[], None],
    ) -> Finished:
        """Measures the run, and what it draws and predicts; `poll` is called as in `MeasuredJob.finish`."""
        found = super().finish(state, measured, records, poll)
        summary = found.summary
        clips = self._held_out_clips()
        true, shape = clips / np.float32(255), self._frame_shape
        drawn, future = self._drawn(self._model(state), clips)
        pca = evaluation.pca_images(fit_images(self._frames(self._train)), self._dim)
        flat = clips[:, : self._context].reshape(-1, *shape)
        for prefix, images in (("", drawn.reshape(-1, *shape)), ("baseline/pca/", pca(flat))):
            drawn_measures = {
                "psnr": float(evaluation.psnr(images, flat / 255).mean()),
                "psnr_worst_tenth": float(np.quantile(evaluation.psnr(images, flat / 255), 0.1)),
            }
            if min(shape[:2]) >= 11:  # a window
                drawn_measures["ssim"] = float(evaluation.ssim(images, flat / 255).mean())
            summary |= {f"drawn/{prefix}{name}": value for name, value in drawn_measures.items()}
        summary["drawn/code_size"] = float(self._dim)
        after = true[:, self._context :]
        guesses = {
            "": np.clip(future, 0, 1),
            "baseline/last_frame/": true[:, self._context - 1 : self._context],
            "baseline/mean_frame/": _mean(self._frames(self._train)) / 255,
        }
        n_future = self._config.objective.n_future
        errors = {name: np.mean((x - after) ** 2, axis=(0, 2, 3, 4)) for name, x in guesses.items() if n_future}
        summary |= {
            f"future/{name}squared_error/{k + 1}": float(error)
            for name, each in errors.items()
            for k, error in enumerate(each)
        }
        shown = true[:3], np.clip(np.concatenate([drawn[:3], future[:3]], axis=1), 0, 1)
        pictures = [
            Picture("clips.png", lambda folder: evaluation.plot_clips(folder, *shown, self._context)),
            Picture("clips.gif", lambda folder: evaluation.plot_film(folder, *shown)),
        ]
        if n_future:
            labels = "codes that go on alone", "the last frame seen, again", "the mean training frame"
            curves = dict(zip(labels, errors.values(), strict=True))
            pictures.append(Picture("future.png", lambda folder: evaluation.plot_future(folder, curves)))
        return found._replace(summary=summary, pictures=[*found.pictures, *pictures])

    def _drawn(self, model: "VideoModel", clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is drawn of clips, and of what comes after their context."""
        return model.reconstruct(clips[:, : self._context]), model.go_on(
            clips[:, : self._context], self._config.objective.n_future
        )

    def _held_out_clips(self) -> np.ndarray:
        """Clips that do not overlap, spread over the held-out frames, `[n, time, height, width, channel]` uint8."""
        length, parts = self._config.data.clip_length, self._frames(self._held_out)
        starts = [(frames, start) for frames in parts for start in range(0, len(frames) - length + 1, length)]
        return np.stack([np.asarray(x[start : start + length]) for x, start in starts[:: -(-len(starts) // _MEASURED)]])

    def _filter_pictures(self, state: TrainState) -> list[Picture]:
        return evaluation.filter_pictures(np.asarray(state.params["blocks"]["0"]["kernel"]))

    def _loss(self, params: Any, state: TrainState, batch: Batch) -> tuple[jax.Array, tuple[Metrics, jax.Array, Any]]:
        network, objective, context = self._network, self._config.objective, self._context
        frames, valid = as_float(batch.frames), batch.valid.astype(jnp.float32)
        carry = network.init_carry(params, len(frames), self._frame_shape)
        h, carry = network.encode(params, frames[:, :context], carry)
        teacher = frames[:, :context] if objective.teacher_forcing else None
        drawn, carry = network.decode(params, h, carry, teacher=teacher)

        def mean(drawn: jax.Array, part: slice) -> jax.Array:
            errors = jnp.mean(jnp.square(drawn - frames[:, part]), axis=(2, 3, 4))
            return jnp.sum(errors * valid[:, part]) / jnp.maximum(jnp.sum(valid[:, part]), 1)

        terms = {"reconstruction": mean(drawn, slice(0, context))}
        total = terms["reconstruction"]
        if objective.n_future:
            codes = network.advance(params, h[:, -2], h[:, -1], objective.n_future)
            future, _ = network.decode(params, codes, carry)
            terms["future"] = objective.future_weight * mean(future, slice(context, None))
            total = total + terms["future"]
        return total, (terms, state.carry, state.batch_stats)


class VideoModel:
    """A finished run: frames to codes, frames drawn from them, and clips that go on.

    Attributes:
      network: the sizes.
      variables: `{"params", "batch_stats"}`.
      readout: `mean [dim]` and `matrix [dim, dim]`.
      frame_shape: `(height, width, channel)` of the frames it takes.
    """

    def __init__(
        self, network: VideoAutoencoder, variables: Any, readout: dict[str, Any], frame_shape: tuple[int, ...]
    ):
        self.network, self.readout, self.frame_shape = network, readout, tuple(frame_shape)
        self.variables = jax.device_put(variables, jax.local_devices()[0])
        self._encode = jax.jit(network.encode)
        self._forget = jax.jit(lambda params, x, carry: network.encode(params, x[:, None], carry)[0][:, 0])

        def draw(params: Any, frames: jax.Array) -> jax.Array:
            h, carry = network.encode(params, frames, network.init_carry(params, len(frames), self.frame_shape))
            return network.decode(params, h, carry)[0]

        self._draw = jax.jit(draw)
        self._go_on = jax.jit(network.go_on, static_argnums=2)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """The code `[time, dim]` of frames of one run, white, ordered by slowness."""
        return self.read_out(self.embed(frames))

    def read_out(self, y: np.ndarray) -> np.ndarray:
        """The ordered, white form of codes `[time, dim]`."""
        return (y - np.asarray(self.readout["mean"])) @ np.asarray(self.readout["matrix"])

    def embed(self, frames: np.ndarray) -> np.ndarray:
        """The codes h `[time, dim]` as the encoder gives them, the state carried from frame to frame."""
        check_frames(frames, self.frame_shape)
        params = self.variables["params"]
        carry, found = self.network.init_carry(params, 1, self.frame_shape), []
        for start in range(0, len(frames), _CHUNK):
            chunk = np.asarray(frames[start : start + _CHUNK])
            missing = _CHUNK - len(chunk)
            chunk = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)]) if missing else chunk
            h, carry = self._encode(params, chunk[None], carry)
            found.append(np.asarray(h)[0, : _CHUNK - missing])
        return np.concatenate(found) if found else np.zeros((0, self.network.code_size), np.float32)

    def embed_without_memory(self, frames: np.ndarray, y_before: np.ndarray) -> np.ndarray:
        """The codes `[time, dim]` with h_{t-1} replaced by the constant `y_before [dim]`, and an LSTM's memory by 0."""
        check_frames(frames, self.frame_shape)
        params = self.variables["params"]
        carry = self.network.init_carry(params, _CHUNK, self.frame_shape)
        before = jnp.zeros_like(carry.encoder).at[:, : self.network.code_size].set(jnp.asarray(y_before, jnp.float32))
        return in_chunks(lambda x: self._forget(params, x, carry._replace(encoder=before)), frames, _CHUNK)

    def reconstruct(self, clips: np.ndarray) -> np.ndarray:
        """Clips `[n, time, height, width, channel]` drawn from their codes, each from a fresh start."""
        check_frames(clips[:, 0], self.frame_shape)
        return in_chunks(lambda part: self._draw(self.variables["params"], part), clips, _CLIPS)

    def go_on(self, clips: np.ndarray, n_steps: int) -> np.ndarray:
        """`n_steps` frames after each clip `[n, time, height, width, channel]`, time at least 2."""
        check_frames(clips[:, 0], self.frame_shape)
        return in_chunks(lambda part: self._go_on(self.variables["params"], part, n_steps), clips, _CLIPS)


def make_video_autoencoder(config: Any) -> VideoAutoencoder:
    """The autoencoder that `config.network` describes.

    Raises:
      InputError: an unknown choice, or a size out of its range.
    """
    try:
        return VideoAutoencoder(**config.to_dict())
    except ValueError as error:
        raise InputError(f"network.{error}") from None


def _mean(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of all frames, some at a time."""
    chunks = (np.asarray(frames[i : i + _MEAN_CHUNK]) for frames in parts for i in range(0, len(frames), _MEAN_CHUNK))
    total = sum(chunk.sum(axis=0, dtype=np.float64) for chunk in chunks)
    return np.asarray(total) / sum(map(len, parts))
