"""Video in every form that TFDS writes is the same as the arrays it was written from."""

import io
import itertools
import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from sfa_jax._errors import InputError
from sfa_jax.data import ClipSampler, FrameStore, load

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")

LENGTHS = (7, 3, 12)
HEIGHT, WIDTH = 6, 5


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def clips():
    """Runs of frames, and a pose of two numbers for each."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (n, HEIGHT, WIDTH, 3), dtype=np.uint8) for n in LENGTHS]
    return [(x, rng.normal(size=(len(x), 2)).astype(np.float32)) for x in frames]


class FormBuilder(tfds.core.GeneratorBasedBuilder):
    """Subclasses have `features`, `shuffled` and `examples`."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict(self.features)
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=not self.shuffled)

    def _split_generators(self, dl_manager):
        return {"train": enumerate(self.examples)}

    def _generate_examples(self):
        raise NotImplementedError


f = tfds.features
IMAGE, TENSOR = f.Image(shape=(HEIGHT, WIDTH, 3)), f.Tensor(shape=(HEIGHT, WIDTH, 3), dtype=np.uint8)
BYTES = f.Tensor(shape=(HEIGHT, WIDTH, 3), dtype=np.uint8, encoding="bytes")
POSE = f.Tensor(shape=(2,), dtype=np.float32)


def steps(frame, encode):
    features = {"steps": f.Dataset({"observation": {"rgb": frame, "pose": POSE}, "reward": np.float32}), "id": f.Text()}

    def example(number, x, pose):
        inner = [{"observation": {"rgb": encode(a), "pose": b}, "reward": 0.0} for a, b in zip(x, pose, strict=True)]
        return {"steps": inner, "id": f"run {number}"}

    return features, example


def one_frame(frame, encode):
    features = {"image": frame, "pose": POSE, "run_id": f.Scalar(np.int64), "frame_index": np.int32}

    def example(number, x, pose):
        return [
            {"image": encode(a), "pose": b, "run_id": number, "frame_index": t}
            for t, (a, b) in enumerate(zip(x, pose, strict=True))
        ]

    return features, example


def clip(features, encode):
    known = {"pose": f.Tensor(shape=(None, 2), dtype=np.float32), "label": f.ClassLabel(num_classes=3)}
    return features | known, lambda number, x, pose: encode(x) | {"pose": pose, "label": number % 3}


def same(x):
    return x


FORMS = {
    "tensor_clip": clip({"video": f.Tensor(shape=(None, HEIGHT, WIDTH, 3), dtype=np.uint8)}, lambda x: {"video": x}),
    "any_size": clip(
        {"video": f.Tensor(shape=(None, None, None, 3), dtype=np.uint8, encoding="zlib")}, lambda x: {"video": x}
    ),
    "floats": clip(
        {"video": f.Tensor(shape=(None, HEIGHT, WIDTH, 3), dtype=np.float32)},
        lambda x: {"video": x / np.float32(255)},
    ),
    "image_sequence": clip({"video": f.Sequence(IMAGE)}, lambda x: {"video": [png(a) for a in x]}),
    "tensor_sequence": clip({"frames": f.Sequence(BYTES)}, lambda x: {"frames": list(x)}),
    "image_steps": steps(IMAGE, png),
    "tensor_steps": steps(TENSOR, same),
    "byte_steps": steps(BYTES, same),
    "frame_images": one_frame(IMAGE, png),
    "frame_tensors": one_frame(TENSOR, same),
    "frame_bytes": one_frame(BYTES, same),
}


def write(folder, name, features, examples, *, shuffled=True):
    tfds.disable_progress_bar()
    body = {"features": features, "examples": examples, "shuffled": shuffled, "__module__": __name__}
    builder = type(name, (FormBuilder,), body)(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    return builder.data_dir


@pytest.fixture(scope="module")
def written(clips, tmp_path_factory):
    """`written(form)` is the directory of a set."""
    folder, made = tmp_path_factory.mktemp("forms"), {}

    def of(form):
        if form not in made:
            features, example = FORMS[form]
            examples = [example(number, *each) for number, each in enumerate(clips)]
            if isinstance(examples[0], list):
                examples = list(itertools.chain.from_iterable(examples))
            made[form] = write(folder, form.title().replace("_", ""), features, examples)
        return made[form]

    return of


def in_order(runs, clips):
    """The runs in the order of the clips: TFDS shuffles examples."""
    found = {len(run): run for run in runs}
    return [found[len(x)] for x, _ in clips]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("memory", [None, 0])
def test_forms(form, memory, written, clips):
    runs = load(
        f"tfds:{written(form)}", image_size=0 if form != "any_size" else (HEIGHT, WIDTH), memory_limit_bytes=memory
    )
    assert [run.held_out for run in runs] == [None] * 3
    for run, (frames, pose) in zip(in_order(runs, clips), clips, strict=True):
        np.testing.assert_array_equal(np.asarray(run.frames), frames)
        np.testing.assert_array_equal(run.frame_index, np.arange(len(frames)))
        for i in range(2):
            np.testing.assert_array_equal(run.truth[f"pose_{i}"], pose[:, i])
        assert ("label" in run.truth) == ("clip" in form or "sequence" in form or form in ("any_size", "floats"))


@pytest.mark.parametrize("form", ["frame_bytes", "image_steps"])
def test_stride_and_size(form, written, clips):
    runs = load(f"tfds:{written(form)}", image_size=(3, 5), stride=2)
    assert sorted(len(run) for run in runs) == [2, 4, 6]
    for run in runs:
        assert run.frames.shape[1:] == (3, 5, 3)
        np.testing.assert_array_equal(run.frame_index, np.arange(0, 2 * len(run), 2))
    for run in load(f"tfds:{written(form)}", image_size=0, stride=3, greyscale=True):
        assert run.frames.shape[1:] == (HEIGHT, WIDTH, 1)
        np.testing.assert_array_equal(run.frame_index, np.arange(0, 3 * len(run), 3))


def test_video(written, clips, tmp_path):
    """A set of the feature `Video`, whose class cannot be made without TensorFlow, is read as the images that it is."""
    folder = shutil.copytree(written("image_sequence"), tmp_path / "set" / "1.0.0")
    features = json.loads((folder / "features.json").read_text())
    features["featuresDict"]["features"]["video"] = {
        "pythonClassName": "tensorflow_datasets.core.features.video_feature.Video",
        "video": {"shape": {"dimensions": ["-1", "6", "5", "3"]}, "dtype": "uint8", "encodingFormat": "png"},
    }
    features["featuresDict"]["features"]["own"] = {"pythonClassName": "nowhere.Own", "jsonFeature": {"json": "{}"}}
    (folder / "features.json").write_text(json.dumps(features))
    for path in (f"tfds:{folder}", f"tfds:set?data_dir={tmp_path}", f"tfds:set:1.0.0?data_dir={tmp_path}"):
        for run, (frames, _) in zip(in_order(load(path, image_size=0), clips), clips, strict=True):
            np.testing.assert_array_equal(run.frames, frames)


def test_every_pair_and_clip(written, clips):
    """Batches drawn from records are those drawn from memory."""
    inside = load(f"tfds:{written('frame_bytes')}", image_size=0)
    outside = load(f"tfds:{written('frame_bytes')}", image_size=0, memory_limit_bytes=0)
    stores = FrameStore(inside), FrameStore(outside)
    assert [store.in_memory for store in stores] == [True, False]
    for length in (2, 3):
        for order in ("shuffled", "consecutive"):
            sampler = ClipSampler(stores[0].lengths, clip_length=length, batch_size=4, order=order)
            for step in range(3 * sampler.steps_per_epoch):
                numbers = sampler.at(step).frames
                np.testing.assert_array_equal(*(store.gather(numbers) for store in stores))


def test_what_was_found_is_told(written, caplog):
    with caplog.at_level(logging.INFO, logger="sfa_jax"):
        load(f"tfds:{written('image_steps')}", image_size=0)
    assert (
        "frames from steps/observation/rgb (Image 6x5x3 uint8, a step); each example a run; truth from "
        "steps/observation/pose; not read: id (Text object), steps/reward (Tensor float32, a step)"
    ) in caplog.text


def test_classes_of_what_is_in_an_image_are_not_its_own(tmp_path, clips):
    boxes = f.Sequence({"bbox": f.BBoxFeature(), "label": f.ClassLabel(num_classes=3)})
    examples = [{"image": png(frame), "objects": []} for frame in clips[2][0]]
    folder = write(tmp_path, "Boxes", {"image": IMAGE, "objects": boxes}, examples)
    (run,) = load(f"tfds:{folder}?held_out=none", image_size=0)
    assert not run.truth


def test_chosen_features(written):
    (run, *_) = load(
        written("image_steps"), source="tfds", image_size=0, tfds={"truth": ("steps/reward",), "split": "train"}
    )
    assert list(run.truth) == ["reward"]
    (run, *_) = load(f"tfds:{written('tensor_clip')}?truth=none&label=none", image_size=0)
    assert not run.truth
    train, held_out = load(f"tfds:{written('frame_bytes')}?run=none", image_size=0)  # single images
    assert (len(train), len(held_out)) == (20, 2)
    assert (train.held_out, held_out.held_out) == (False, True)
    (first, *_) = load(f"tfds:{written('tensor_clip')}?split=train[:1]&held_out=train[1:]", image_size=0)
    assert first.held_out is False


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        ("image_steps", {"frames": "rgb"}, r"frames=steps/observation/rgb, a feature of frames, got 'rgb'; it has id"),
        ("image_steps", {"truth": ("id",)}, r"expected truth among steps/observation/pose, steps/reward, numbers"),
        ("image_steps", {"truth": "pose"}, r"tfds.truth: expected names of features such as \('pose',\), got 'pose'"),
        (
            "image_steps",
            {"run": "id"},
            r"run: expected none, as each example with its steps/observation/rgb .* is a run",
        ),
        ("image_steps", {"label": "id"}, r"expected label=none, got 'id'"),
        ("image_steps", {"name": "id"}, r"tfds options: expected some of data_dir, .*, got 'name'"),
        ("image_steps", {"split": 1}, r"tfds.split: expected text, got 1"),
        ("frame_bytes", {"run": "pose"}, r"expected run=frame_index or run_id, one value an example, got 'pose'"),
        ("frame_bytes", {"frame_index": "none"}, r"expected a feature with the number of each frame .*shuffled: name"),
        ("any_size", {}, r"image_size: the images of .* are of many sizes; set image_size"),
    ],
)
def test_errors(form, options, message, written):
    with pytest.raises(InputError, match=message):
        load(written(form), source="tfds", image_size=0, tfds=options)


def test_frames_that_are_left_out(tmp_path, clips):
    """A run ends where the numbers of its frames leave some out, and frames of one run may lie anywhere."""
    features, example = one_frame(BYTES, same)
    examples = [x for x in example(0, *clips[2]) if x["frame_index"] not in (0, 5)]
    folder = write(tmp_path, "Gaps", features, examples, shuffled=False)
    first, second = load(f"tfds:{folder}", image_size=0)
    np.testing.assert_array_equal(first.frame_index, [1, 2, 3, 4])
    np.testing.assert_array_equal(second.frame_index, range(6, 12))
    np.testing.assert_array_equal(second.frames, clips[2][0][6:])
    with pytest.raises(InputError, match=r"tfds:.*gaps/1.0.0 gives no run of at least two .* at stride 13"):
        load(f"tfds:{folder}", image_size=0, stride=13)
    folder = write(tmp_path, "Twice", features, [*examples, examples[3]])
    with pytest.raises(InputError, match=r"records \d+ and \d+ both hold frame 4 of run 0; .* data.tfds.frame_index"):
        load(f"tfds:{folder}", image_size=0)


def test_runs_keep_their_names(tmp_path, clips):
    """Whatever tells them apart, and in whatever order examples lie."""
    for name, kind, ids in (("Long", np.uint64, (2**63 + 2, 2**63 + 3, 7)), ("Named", np.str_, ("b", "a", "b, too"))):
        features = {"image": BYTES, "run": f.Scalar(kind), "frame_index": np.int32}
        examples = [
            {"image": frame, "run": run, "frame_index": number}
            for run, (frames, _) in zip(ids, clips, strict=True)
            for number, frame in enumerate(frames)
        ]
        folder = write(tmp_path, name, features, examples)
        runs = {run.name: run for run in load(f"tfds:{folder}", image_size=0)}
        about = f"tfds:{name.lower()}/1.0.0 train"
        assert runs.keys() == {f"{about} (run {run})" for run in ids}
        for run, (frames, _) in zip(ids, clips, strict=True):
            np.testing.assert_array_equal(runs[f"{about} (run {run})"].frames, frames)


def test_what_cannot_be_trained_on(written, tmp_path, clips):
    with pytest.raises(InputError, match=r"held_out: expected runs .*trained on, but \d of .* are in .* too"):
        load(f"tfds:{written('frame_bytes')}?split=train[:50%]&held_out=train[50%:]", image_size=0)
    features, example = one_frame(BYTES, same)
    pose = np.full_like(clips[0][1], np.nan)
    folder = write(tmp_path, "Unknown", features, example(0, clips[0][0], pose))
    with pytest.raises(InputError, match=r"record 0 .*\[pose\] has NaN or infinite values; leave it out by data"):
        load(f"tfds:{folder}", image_size=0)
    assert len(load(f"tfds:{folder}?truth=none", image_size=0)) == 1
    examples = [{"image": frame, "frame_index": number} for number, frame in enumerate(clips[2][0])]
    folder = write(tmp_path, "Runless", {"image": BYTES, "frame_index": np.int32}, examples)
    with pytest.raises(InputError, match=r"frame_index: expected beside a feature that tells the run .*; it has "):
        load(f"tfds:{folder}?frame_index=frame_index", image_size=0)
    assert [len(run) for run in load(f"tfds:{folder}?held_out=none", image_size=0)] == [12]


def test_mocked(written):
    """What TFDS's own tests put in the place of records."""
    with tfds.testing.mock_data(num_examples=5, data_dir=str(written("tensor_clip")).rsplit("/", 2)[0]):
        runs = load("tfds:tensor_clip?truth=none", image_size=(HEIGHT, WIDTH))
    assert len(runs) == 5
    assert all(run.frames.dtype == np.uint8 and np.asarray(run.frames).std() > 10 for run in runs)
