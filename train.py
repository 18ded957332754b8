"""Trains a config on a video and measures what it learned.

python train.py --config=configs/sfa.py [--config.field=value ...] [--workdir=DIR]

As many devices of the machine are used as share a batch evenly. Several processes train as one when each is started
with the same flags and

--coordinator=HOST:PORT --num_processes=N --process_id=I     process 0 listens at the address; I is 0 to N-1
--distributed                                                instead, where jax knows the cluster (Slurm, TPU pods)
"""

import datetime
import logging

from absl import app, flags
from ml_collections import config_flags

from sfa_jax import _cli

_CONFIG = config_flags.DEFINE_config_file(
    "config", help_string="A file of configs/, with :ARGUMENT where it takes one."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where to write; a run found there is resumed. New below runs/ if not given."
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT where process 0 of a job listens.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes the job has.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this one is, counted from 0.")
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Take the three above from the cluster, such as Slurm.")
_JOIN_TIMEOUT = flags.DEFINE_integer("join_timeout", 300, "Seconds to wait for all processes of the job.")


def main(argv: list[str]) -> None:
    _cli.refuse_arguments(argv[1:])
    _cli.run(_train)


def _train() -> None:
    from sfa_jax._folders import as_path
    from sfa_jax.training import JobFlags, join, train_and_evaluate

    job = (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID, _DISTRIBUTED, _JOIN_TIMEOUT)
    processes = join(JobFlags(*(flag.value for flag in job)))
    config = _CONFIG.value
    new = f"runs/{config.name}/{datetime.datetime.now():%Y%m%d-%H%M%S}"
    given = processes.share(lambda: new if _WORKDIR.value is None else _WORKDIR.value)
    workdir = as_path(given, "--workdir")
    logging.getLogger("sfa_jax").info("workdir: %s", workdir)
    train_and_evaluate(config, workdir, report=_report)
    if processes.first:
        _cli.show(f"summary, checkpoints, embeddings and plots are in {workdir}")


def _report(summary: dict[str, float]) -> None:
    from sfa_jax import evaluation

    verdicts = evaluation.verdicts(summary, int(summary.get("dim", 0)))
    _cli.show("\n".join([evaluation.table(summary), *verdicts]))


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=_cli.parse_flags)
