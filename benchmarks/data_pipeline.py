"""Frames a second that the data pipeline feeds, beside what training takes; and the memory that it needs.

    python benchmarks/data_pipeline.py [--frames 20000] [--rounds 5] [--batch 32]
    python benchmarks/data_pipeline.py --memory
    python benchmarks/data_pipeline.py --video

A walk through the room, 64x64x3, is written as a set by `sfa_jax.prepare` and read pair by pair at random. Each
contestant is a process of its own, warmed up; they take turns, the others asleep; medians are printed.

  train      steps of the published network (configs/sfa_gen.py) on frames that lie on the device: what is to be fed
  threads    the pipeline alone: `Reader` with threads of its own process
  workers    the same with two processes, `data.workers=2`
  fed        `train` on frames that the pipeline reads by threads
  plain      single frames, shuffled by Grain over TFDS's own data source, decoded by TFDS: the usual way, with 4
             threads or with Grain's usual 16, the faster counts. 16 batches are read ahead, not Grain's usual 500,
             which would be ready before the clock starts

`--memory` trains on the set with a limit of a quarter of its size, without one, and on a set four times as large with
the same limit, and prints the peaks of memory. `--video` decodes a 480p H.264 file to 64x64, as before the first run on
it, and then reads it as a set.
"""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._contestants import Contestant, medians, serve

SIZE = 64
FRAME_BYTES = SIZE * SIZE * 3
TRAIN_STEPS, READ_STEPS = 40, 400  # of one call; far more batches than are read ahead


def write_set(folder, n_frames):
    from sfa_jax.data import prepare

    return prepare("room", folder, image_size=SIZE, room={"n_frames": n_frames}, shard_bytes=32 << 20)


def config_of(folder, batch, limit_gb=0.0):
    from configs import sfa_gen

    config = sfa_gen.get_config()
    config.data.source, config.data.path, config.data.batch_size = "tfds", str(folder), batch
    config.data.image_size = SIZE
    config.data.memory_limit_gb = limit_gb
    config.evaluation.plots = False
    return config


# --- Contestants: each gives a call, and the frames that it takes -----------------------------------------------------


def train(folder, batch, limit_gb=0.0):
    import jax

    from sfa_jax.training._feed import feeding
    from sfa_jax.training._inputs import load_inputs
    from sfa_jax.training._mesh import Devices
    from sfa_jax.training._slow_network import SlowNetworkJob
    from sfa_jax.training._steps import make_update

    config = config_of(folder, batch, limit_gb)
    inputs = load_inputs(config)
    job = SlowNetworkJob(config, inputs)
    devices = Devices(inputs.sampler.at(0).valid.shape, job.shared_axis)
    state, update = devices.copy(job.init()), jax.jit(make_update(job.update), donate_argnums=0)
    frames = devices.copy(inputs.store.all()) if inputs.store.in_memory else None
    feeds = contextlib.ExitStack()  # open as long as the process
    feeds.enter_context(jax.set_mesh(devices.mesh))
    feed = feeds.enter_context(feeding(config, inputs, devices, frames is not None, 0, 1 << 30))
    step, each = 0, config.train.steps_per_dispatch

    def call(kept=feeds):
        nonlocal state, step
        for _ in range(TRAIN_STEPS // each):
            batches = feed.take(step, step + each)
            state, found = update(state, frames, batches)
            step += each
            feed.prepare(step, step + each)
            jax.block_until_ready(found)

    return call, TRAIN_STEPS * batch * 2


def fed(folder, batch):
    return train(folder, batch, limit_gb=1e-6)


def threads(folder, batch, workers=0):
    from sfa_jax.data import Reader, ReadOptions
    from sfa_jax.training._inputs import load_inputs

    inputs = load_inputs(config_of(folder, batch, limit_gb=1e-6))
    part = (slice(None), slice(None))
    reader = Reader(inputs.store, inputs.sampler, 0, 1 << 30, part, ReadOptions(workers))

    def call():
        for _ in range(READ_STEPS):
            reader.next()

    return call, READ_STEPS * batch * 2


def workers(folder, batch):
    return threads(folder, batch, workers=2)


def plain(folder, batch):
    return read_plainly(folder, batch, 4)


def plain_16(folder, batch):
    return read_plainly(folder, batch, 16)


def read_plainly(folder, batch, n_threads):
    import grain
    import tensorflow_datasets as tfds

    source = tfds.builder_from_directory(str(folder)).as_data_source("train")
    dataset = grain.MapDataset.source(source).seed(0).shuffle().repeat(None).map(lambda example: example["frame"])
    batches = iter(dataset.batch(2 * batch, drop_remainder=True).to_iter_dataset(grain.ReadOptions(n_threads, 16)))

    def call():
        for _ in range(READ_STEPS):
            next(batches)

    return call, READ_STEPS * batch * 2


CONTESTANTS = {function.__name__: function for function in (train, threads, workers, fed, plain, plain_16)}


def serve_one(name, folder, batch):
    call, n_frames = CONTESTANTS[name](folder, batch)
    call()  # compiles, and fills what is read ahead
    serve(call, str(n_frames))


# --- Comparison -------------------------------------------------------------------------------------------------------


def compare(args, folder):
    command = [sys.executable, "-W", "ignore", __file__, "--set", str(folder), "--batch", str(args.batch), "--serve"]
    contestants = {name: Contestant([*command, name]) for name in CONTESTANTS}
    n_frames = {name: int(contestant.result) for name, contestant in contestants.items()}
    times = medians(contestants, args.rounds)
    rates = {name: n_frames[name] / times[name] for name in times}
    print("peer: Grain over TFDS's data source with 4 and with 16 threads, both timed here in turns; take the faster")
    for name, rate in rates.items():
        print(f"{name:>10s} {rate:8.0f} frames/s   {rate / rates['train']:5.2f} x what training takes", flush=True)


def peak_of_run(folder, batch, limit_gb):
    command = [sys.executable, "-W", "ignore", __file__, "--set", str(folder), "--batch", str(batch)]
    done = subprocess.run(
        [*command, "--limit", str(limit_gb)], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    return json.loads(done.stdout.splitlines()[-1])


def run_once(folder, batch, limit_gb):
    from sfa_jax.training import train_and_evaluate

    config = config_of(folder, batch, limit_gb)
    config.train.epochs, config.train.steps, config.train.evaluate_every = 0.0, 200, 100
    with tempfile.TemporaryDirectory() as workdir:
        train_and_evaluate(config, workdir)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps(peak))


def compare_memory(args, folder, larger):
    mb = args.frames * FRAME_BYTES / 1e6
    limit = mb / 4
    for name, path, size, limit_gb in (
        ("from disk", folder, mb, limit / 1e3),
        ("from disk", larger, 4 * mb, limit / 1e3),
        ("in memory", folder, mb, 0.0),
        ("in memory", larger, 4 * mb, 0.0),
    ):
        said = f"limit {limit:.0f} MB" if limit_gb else "no limit"
        print(
            f"{name}: set of {size:.0f} MB, {said}: peak {peak_of_run(path, args.batch, limit_gb):.0f} MB", flush=True
        )


def compare_video(folder):
    import av

    from sfa_jax.data import load, prepare, room

    path, n_frames = folder / "walk.mp4", 600
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 854, 480, "yuv420p"
        for run in room(n_frames=n_frames, image_size=(480, 854)):
            for frame in run.frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    for split_cuts in (True, False):
        start = time.perf_counter()
        load(path, image_size=SIZE, split_cuts=split_cuts, cache_dir=folder / f"cache{split_cuts}")
        rate = n_frames / (time.perf_counter() - start)
        print(f"480p H.264 to 64x64, {'cuts looked for' if split_cuts else 'no cuts'}: {rate:.0f} frames/s", flush=True)
    start = time.perf_counter()
    prepare(path, folder / "set", image_size=SIZE)
    print(f"the same written as a set: {n_frames / (time.perf_counter() - start):.0f} frames/s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20_000, help="of the set")
    parser.add_argument("--batch", type=int, default=32, help="pairs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="peaks of memory, nothing else")
    parser.add_argument("--video", action="store_true", help="decoding of a 480p file, nothing else")
    parser.add_argument("--set", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve_one(args.serve, args.set, args.batch)
    if args.limit is not None:
        return run_once(args.set, args.batch, args.limit)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if args.video:
            return compare_video(folder)
        write_set(folder / "walk", args.frames)
        if args.memory:
            write_set(folder / "long_walk", 4 * args.frames)
            return compare_memory(args, folder / "walk", folder / "long_walk")
        compare(args, folder / "walk")


if __name__ == "__main__":
    main()
