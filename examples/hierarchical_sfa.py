"""Hierarchical slow feature analysis of the embedded room, and what a linear readout tells on held-out frames.

    python examples/hierarchical_sfa.py [--narrow]

Three layers of receptive fields, each slow feature analysis of the quadratic monomials of its slowest linear features:
8x8 pixels, then 4x4 of those, then all. Franzius, Sprekeler & Wiskott, PLoS Computational Biology 2007. About two
minutes on 2 CPU cores, most of it three passes over 11700 frames a layer.
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs import sfa
from sfa_jax import data, evaluation, slowness, training

LAYERS = (
    slowness.Layer(field=8, stride=8, n_inputs=24, n_components=16),
    slowness.Layer(field=4, stride=4, n_inputs=48, n_components=24),
    slowness.Layer(field=0, stride=1, n_inputs=48, n_components=32),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--narrow", action="store_true", help="through 60 degrees instead of 300")
    parser.add_argument("--seed", type=int, default=0, help="of the room and the walk through it")
    arguments = parser.parse_args()
    config = sfa.get_config("narrow" if arguments.narrow else "")
    config.data.room.seed = arguments.seed
    (run,) = training.load_runs(config.data)
    (split,) = data.split_sequences([len(run)], holdout=config.evaluation.holdout, gap=config.evaluation.gap)
    parts = slice(*split.train[0]), slice(*split.held_out[0])

    start = time.perf_counter()
    model = slowness.fit_hierarchical(run.frames[parts[0]], LAYERS)
    print(f"fitted in {time.perf_counter() - start:.0f} s")
    transform = jax.jit(slowness.transform)
    code = np.concatenate([transform(model, run.frames[i : i + 500]) for i in range(0, len(run), 500)])

    truth = [{name: values[part] for name, values in run.truth.items()} for part in parts]
    measures = evaluation.code_measures([code[parts[0]]], [code[parts[1]]], [truth[0]], [truth[1]])
    for name in run.truth:
        print(f"held-out R2 of {name}: {measures[f'r2/{name}']:.3f}")


if __name__ == "__main__":
    main()
