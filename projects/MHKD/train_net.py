#!/usr/bin/env python
"""Train or score a detector for low-resolution slides with multi-step hybrid knowledge distillation.

Takes Detectron2's usual arguments; see projects/MHKD/README.md.
"""

import json
from pathlib import Path

from mhkd.engine import prepare_datasets, score_trained, views_to_score
from mhkd.engine.log import RunLog
from mhkd.engine.run import exit_with_one_line, run_processes, train
from mhkd.errors import InputError
from mhkd.extensions import load_extensions
from mhkd.files import writing_to
from mhkd.settings import check_device
from mhkd.unread import load_run_cfg

from detectron2.engine import default_argument_parser
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info

EPILOG = """
Examples:

  Train everything up to step 4, teacher included; finished steps are skipped, an interrupted one resumes.
  Settings or data that differ from what was trained before are an error that names them:
    $ train_net.py --config-file configs/KidneyROI/mhkd_R18_FPN_cpu.yaml --resume MHKD.STAGE 4

  Score the trained student on low resolution, the teacher on high resolution, or the teacher fed with
  upsampled low resolution:
    $ train_net.py --config-file … --eval-only
    $ train_net.py --config-file … --eval-only MHKD.EVAL teacher
    $ train_net.py --config-file … --eval-only MHKD.EVAL direct

  A loss of your own and a schedule that has it (see docs/extending.md):
    $ train_net.py --config-file … --with my_losses.py MHKD.SCHEDULE my_schedule.yaml

  Four GPUs (or, where there is no GPU, four CPU processes):
    $ train_net.py --config-file … --num-gpus 4 SOLVER.IMS_PER_BATCH 4
"""


def setup(args):
    if not Path(args.config_file).is_file():
        raise InputError(f"--config-file {args.config_file!r}: no such file")
    cfg = load_run_cfg(args.config_file, args.opts, training=not args.eval_only)
    cfg.freeze()
    check_device(cfg.MODEL.DEVICE)
    prepare_datasets(cfg, training=not args.eval_only)
    return cfg


def main(args):
    """What every process runs. Bad input ends them all with one line, from the first of them."""
    with exit_with_one_line("train_net.py"), RunLog() as log:
        cfg = setup(args)
        notes = [f"Command line arguments: {args}", f"Environment info:\n{collect_env_info()}"]
        if not args.eval_only:
            return train(cfg, args.resume, log, [*notes, f"Running with full config:\n{cfg.dump()}"])
        with writing_to(cfg.OUTPUT_DIR):  # beside a training, whose config.yaml stays as it is
            log.keep_in(cfg.OUTPUT_DIR)
            scores = {which: score_trained(cfg, which) for which in views_to_score(cfg)}
        if comm.is_main_process():
            print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    parser = default_argument_parser(EPILOG)
    parser.description = __doc__
    parser.add_argument(
        "--with", dest="extensions", action="append", default=[], metavar="FILE.py",
        help="Python file that registers losses or schedules of your own; may be given more than once",
    )  # fmt: skip
    args = parser.parse_args()
    with exit_with_one_line("train_net.py"):
        load_extensions(args.extensions)
        run_processes(main, args.num_gpus, args.num_machines, args.machine_rank, args.dist_url, (args,))
