"""Trains a config on a video and measures what it learned.

python train.py --config=configs/sfa.py [--config.field=value ...] [--workdir=DIR]
"""

import datetime
import logging
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from sfa_jax import _cli

_CONFIG = config_flags.DEFINE_config_file(
    "config", help_string="A file of configs/, with :ARGUMENT where it takes one."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where to write; a run found there is resumed. New below runs/ if not given."
)


def main(argv: list[str]) -> None:
    _cli.refuse_arguments(argv[1:])
    _cli.run(_train)


def _train() -> None:
    from sfa_jax import evaluation
    from sfa_jax.training import train_and_evaluate

    config = _CONFIG.value
    workdir = Path(_WORKDIR.value or f"runs/{config.name}/{datetime.datetime.now():%Y%m%d-%H%M%S}")
    logging.getLogger("sfa_jax").info("workdir: %s", workdir)
    summary = train_and_evaluate(config, workdir)
    print(evaluation.table(summary))
    for sentence in evaluation.verdicts(summary, int(summary["dim"])):
        print(sentence)
    print(f"summary, checkpoints, embeddings and plots are in {workdir}")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=_cli.parse_flags)
