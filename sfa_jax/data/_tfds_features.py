"""What the features of a data set of TFDS hold: frames, the runs they are of, classes, and what else is known of them.

An example holds one frame (an image, or a step of a run that other features name) or a clip of them: a tensor with a
time axis, a sequence of images, or a nested data set of steps.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sfa_jax._errors import InputError

NOTHING = "none"  # what an option says that must not be guessed
_FRAMES = "frame", "frames", "image", "images", "video", "rgb"
_RUNS = "run_id", "run", "video_id", "clip_id", "episode_id", "sequence_id"
_INDEXES = "frame_index", "frame_number", "frame_id"
_TRUTH = "pose", "position", "orientation", "heading", "angle", "latents", "state", "x", "y", "z"
_LONGEST = 16  # numbers of one feature that become truth


class Leaf(NamedTuple):
    """One feature that is not a group of others.

    Attributes:
      name: its path, `steps/observation/image`.
      feature: of one value.
      stacked: whether an example holds many values of it, those of its steps.
      spec: how an example holds it, for TFDS's parser.
    """

    name: str
    feature: Any
    stacked: bool
    spec: Any

    @property
    def last(self) -> str:
        return self.name.rpartition("/")[2]

    def __str__(self) -> str:
        shape = "x".join("?" if side is None else str(side) for side in self.feature.shape)
        kind = type(self.feature).__name__ + f" {shape} {np.dtype(self.feature.np_dtype).name}".replace("  ", " ")
        return f"{self.name} ({kind}, a step)" if self.stacked else f"{self.name} ({kind})"


class Wanted(NamedTuple):
    """What is asked for by name; empty where it is guessed, "none" where there shall be none.

    Attributes:
      frames, label, run, frame_index: of the features that hold them.
      truth: of the features that become truth.
    """

    frames: str = ""
    label: str = ""
    run: str = ""
    frame_index: str = ""
    truth: tuple[str, ...] = ()


class Layout(NamedTuple):
    """Which feature holds what.

    Attributes:
      frames: the frames.
      clip: whether an example is a whole run, not one frame.
      run, frame_index: of examples that are one frame: of which run, and which of its frames.
      truth: name -> (feature, place in it or None for a single number).
      per_frame: names of `truth` that an example holds for each of its frames, not once.
    """

    frames: Leaf
    clip: bool
    run: Leaf | None
    frame_index: Leaf | None
    truth: Mapping[str, tuple[Leaf, int | None]]
    per_frame: frozenset[str]

    def leaves(self) -> dict[str, Leaf]:
        """All features that are read."""
        known = [leaf for leaf, _ in self.truth.values()]
        every = [self.frames, self.run, self.frame_index, *known]
        return {leaf.name: leaf for leaf in every if leaf is not None}


def find_leaves(features: Any) -> dict[str, Leaf]:
    """The features of an example by their paths, those inside steps too."""
    tfds_features = _tfds_features()
    if not isinstance(features, tfds_features.FeaturesDict):
        return {}
    return {leaf.name: leaf for leaf in _walk(features, features.get_serialized_info(), "", False)}


def find_layout(leaves: Mapping[str, Leaf], wanted: Wanted, about: str) -> Layout:
    """What holds what, as asked for or guessed.

    Args:
      leaves: from `find_leaves`.
      wanted: the names that are given.
      about: what messages call the data set.

    Raises:
      InputError: there is no such feature, or none or several that may be meant; the message lists what there is.
    """
    frames = _find_frames(leaves, wanted.frames, about)
    clip = is_clip(frames)
    others = {name: leaf for name, leaf in leaves.items() if leaf != frames}
    run = index = None
    if not clip and wanted.frame_index not in ("", NOTHING) and wanted.run == NOTHING:
        raise InputError(f"{about}: frame_index: expected none with run=none, as single images have no order; drop it")
    if not clip:
        run = _find_scalar(others, "run", wanted.run, _RUNS, "iuOSU", about)
        index = _find_scalar(others, "frame_index", wanted.frame_index, _INDEXES if run else (), "iu", about)
        if index and not run:
            raise InputError(
                f"{about}: frame_index: expected beside a feature that tells the run of each frame, found none of "
                f"{', '.join(_RUNS)}; name it by data.tfds.run; {listed(leaves)}"
            )
    elif wanted.run or wanted.frame_index:
        name = "run" if wanted.run else "frame_index"
        raise InputError(f"{about}: {name}: expected none, as each example with its {frames} is a run; leave it out")
    truth: dict[str, tuple[Leaf, int | None]] = {}
    label = _find_label({path: x for path, x in others.items() if clip or not x.stacked}, wanted.label, about)
    if label is not None:
        truth["label"] = label, None
    left = {path: leaf for path, leaf in others.items() if leaf not in (run, index, label)}
    for leaf in _find_truth(left, wanted.truth, frames, about):
        name = leaf.name.removeprefix("truth/") if leaf.name.startswith("truth/") else leaf.last
        name = leaf.name if name in truth or f"{name}_0" in truth else name
        shape = _value_shape(leaf, frames)
        truth |= {f"{name}_{i}": (leaf, i) for i in range(shape[0] or 0)} if shape else {name: (leaf, None)}
    per_frame = frozenset(name for name, (leaf, _) in truth.items() if clip and _is_per_frame(leaf, frames))
    return Layout(frames, clip, run, index, truth, per_frame)


def describe(layout: Layout, leaves: Mapping[str, Leaf]) -> str:
    """What was found, and what else there is."""
    said = [f"frames from {layout.frames}"]
    if layout.clip:
        said.append("each example a run")
    elif layout.run:
        order = f" in the order of {layout.frame_index.name}" if layout.frame_index else ""
        said.append(f"runs from {layout.run.name}{order}")
    else:
        said.append("single images, whose order says nothing")
    once = " (one for all frames of an example)" if layout.clip else ""
    known = {leaf.name + ("" if name in layout.per_frame else once) for name, (leaf, _) in layout.truth.items()}
    said.append(f"truth from {', '.join(sorted(known))}" if known else "no truth")
    rest = [str(leaf) for name, leaf in leaves.items() if name not in layout.leaves()]
    return "; ".join(said) + (f"; not read: {', '.join(rest)}" if rest else "")


def is_clip(frames: Leaf) -> bool:
    """Whether an example holds several frames."""
    if frames.stacked:
        return True
    shape = frames.feature.shape
    return len(shape) == 4 or (len(shape) == 3 and shape[2] not in (1, 3) and not is_image(frames))


def frame_shape(frames: Leaf) -> tuple[int | None, int | None, int]:
    """`(height, width, channel)` of a frame; None where it may be any."""
    shape = tuple(frames.feature.shape)
    if is_clip(frames) and not frames.stacked:
        shape = shape[1:]
    if len(shape) == 2:
        return (*shape, 1)
    return shape[0], shape[1], 1 if shape[2] == 1 else 3


def is_image(leaf: Leaf) -> bool:
    """Whether an example holds it as the bytes of image files."""
    return isinstance(leaf.feature, _tfds_features().Image)


def listed(leaves: Mapping[str, Leaf]) -> str:
    """What there is, for messages."""
    return "it has " + (", ".join(map(str, leaves.values())) or "no features that can be read")


def _walk(features: Any, info: Any, prefix: str, stacked: bool) -> Iterator[Leaf]:
    kinds = _tfds_features()
    for name in sorted(features):
        feature, spec, path = features[name], info[name], prefix + name
        if isinstance(feature, kinds.FeaturesDict):
            yield from _walk(feature, spec, f"{path}/", stacked)
        elif isinstance(feature, kinds.Sequence) and not stacked:  # a Dataset of steps is one too
            if isinstance(feature.feature, kinds.FeaturesDict):
                yield from _walk(feature.feature, spec, f"{path}/", True)
            elif not isinstance(feature.feature, kinds.Sequence):
                yield Leaf(path, feature.feature, True, spec)
        elif not isinstance(feature, kinds.Sequence):
            yield Leaf(path, feature, stacked, spec)


def _find_frames(leaves: Mapping[str, Leaf], name: str, about: str) -> Leaf:
    fit = {path: leaf for path, leaf in leaves.items() if _holds_frames(leaf)}
    if name:
        if name not in fit:
            raise InputError(
                f"{about}: expected frames={' or '.join(fit) or '...'}, a feature of frames, got {name!r}; "
                f"{listed(leaves)}"
            )
        return fit[name]
    usual = [leaf for leaf in fit.values() if leaf.last in _FRAMES]
    if len(fit) == 1 or len(usual) == 1:
        return (usual or [*fit.values()])[0]
    hint = "; give a set of images or of video"
    if fit:
        hint = f"; choose one by data.tfds.frames={next(iter(fit))}, or ?frames={next(iter(fit))}"
    raise InputError(
        f"{about}: expected one feature of frames, found {', '.join(fit) or 'none'}; {listed(leaves)}{hint}"
    )


def _holds_frames(leaf: Leaf) -> bool:
    kinds, feature = _tfds_features(), leaf.feature
    shape, dtype = feature.shape, np.dtype(feature.np_dtype)
    if is_image(leaf):
        return not isinstance(feature, kinds.LabeledImage) and len(shape) == 3 and dtype.kind == "u"  # no mask
    if type(feature) is not kinds.Tensor or not (dtype == np.uint8 or dtype.kind in "fb"):
        return False
    if len(shape) == (3 if leaf.stacked else 4):
        return shape[-1] in (1, 3)
    if leaf.stacked:
        return len(shape) == 2 and dtype == np.uint8
    return (len(shape) == 3 and (shape[2] in (1, 3) or dtype == np.uint8)) or (len(shape) == 2 and dtype == np.uint8)


def _find_scalar(
    leaves: Mapping[str, Leaf], option: str, name: str, usual: Sequence[str], kinds: str, about: str
) -> Leaf | None:
    if name == NOTHING:
        return None
    fit = {p: x for p, x in leaves.items() if not x.stacked and not x.feature.shape and _kind(x) in kinds}
    if name:
        if name not in fit:
            raise InputError(
                f"{about}: expected {option}={' or '.join(fit) or NOTHING}, one value an example, got {name!r}; "
                f"{listed(leaves)}"
            )
        return fit[name]
    named = {leaf.last: leaf for leaf in reversed(fit.values())}
    return next((named[guess] for guess in usual if guess in named), None)


def _find_label(leaves: Mapping[str, Leaf], name: str, about: str) -> Leaf | None:
    if name == NOTHING:
        return None
    classes = {path: leaf for path, leaf in leaves.items() if isinstance(leaf.feature, _tfds_features().ClassLabel)}
    whole = classes | {path: leaf for path, leaf in leaves.items() if not leaf.feature.shape and _kind(leaf) in "iu"}
    if name:
        if name not in whole:
            raise InputError(f"{about}: expected label={' or '.join(whole) or NOTHING}, got {name!r}; {listed(leaves)}")
        return whole[name]
    if "label" in classes:
        return classes["label"]
    return next(iter(classes.values())) if len(classes) == 1 else None


def _find_truth(leaves: Mapping[str, Leaf], names: Sequence[str], frames: Leaf, about: str) -> list[Leaf]:
    if tuple(names) == (NOTHING,):
        return []
    fit = {path: leaf for path, leaf in leaves.items() if _is_short(leaf, frames)}
    for name in names:
        if name not in fit:
            raise InputError(
                f"{about}: expected truth among {', '.join(fit) or NOTHING}, numbers, at most {_LONGEST} of them, got "
                f"{name!r}; {listed(leaves)}"
            )
    if names:
        return [fit[name] for name in names]
    return [x for x in fit.values() if x.name.startswith("truth/") or (x.last in _TRUTH and _kind(x) == "f")]


def _is_short(leaf: Leaf, frames: Leaf) -> bool:
    """Whether a value is one number, or a vector of few."""
    if _kind(leaf) not in "fiub" or (leaf.stacked and not is_clip(frames)):
        return False
    shape = _value_shape(leaf, frames)
    return not shape or (len(shape) == 1 and shape[0] is not None and shape[0] <= _LONGEST)


def _kind(leaf: Leaf) -> str:
    return np.dtype(leaf.feature.np_dtype).kind


def _is_per_frame(leaf: Leaf, frames: Leaf) -> bool:
    """Whether an example that is a clip holds a value for each of its frames."""
    if leaf.stacked:
        return True
    shape, length = leaf.feature.shape, None if frames.stacked else frames.feature.shape[0]
    return len(shape) >= 1 and shape[0] == length


def _value_shape(leaf: Leaf, frames: Leaf) -> tuple[int | None, ...]:
    shape = tuple(leaf.feature.shape)
    whole_clips = is_clip(frames) and not leaf.stacked
    return shape[1:] if whole_clips and _is_per_frame(leaf, frames) else shape


def _tfds_features() -> Any:
    return importlib.import_module("tensorflow_datasets").features
