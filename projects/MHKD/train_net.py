#!/usr/bin/env python
"""Train or score a detector for low-resolution slides with multi-step hybrid knowledge distillation.

Takes Detectron2's usual arguments; see projects/MHKD/README.md.
"""

import json
import logging
import sys
from pathlib import Path

from mhkd.engine import DistillationTrainer, launch, prepare_datasets, score_trained, views_to_score
from mhkd.errors import InputError
from mhkd.settings import check_device, check_writable
from mhkd.unread import load_run_cfg

from detectron2.engine import default_argument_parser, default_setup
from detectron2.utils import comm
from torch.multiprocessing import ProcessExitedException

EPILOG = """
Examples:

  Train everything up to step 4, teacher included; finished steps are skipped, an interrupted one resumes:
    $ train_net.py --config-file configs/KidneyROI/mhkd_R18_FPN_cpu.yaml --resume MHKD.STAGE 4

  Score the trained student on low resolution, the teacher on high resolution, or the teacher fed with
  upsampled low resolution:
    $ train_net.py --config-file … --eval-only
    $ train_net.py --config-file … --eval-only MHKD.EVAL teacher
    $ train_net.py --config-file … --eval-only MHKD.EVAL direct

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
    check_writable(cfg.OUTPUT_DIR)
    default_setup(cfg, args)
    for name in ("mhkd", "detectron2", "fvcore"):
        logging.getLogger(name).propagate = False
    return cfg


def main(args):
    """What every process runs. Bad input ends them all with one line, from the first of them."""
    try:
        cfg = setup(args)
        if not args.eval_only:
            return DistillationTrainer(cfg).train(resume=args.resume)
        scores = {which: score_trained(cfg, which) for which in views_to_score(cfg)}
        if comm.is_main_process():
            print(json.dumps(scores, indent=2))
    except InputError as e:
        sys.exit(f"train_net.py: error: {e}" if comm.is_main_process() else 1)


if __name__ == "__main__":
    parser = default_argument_parser(EPILOG)
    parser.description = __doc__
    args = parser.parse_args()
    try:
        launch(main, args.num_gpus, args.num_machines, args.machine_rank, args.dist_url, (args,))
    except InputError as e:
        sys.exit(f"train_net.py: error: {e}")
    except ProcessExitedException as e:  # it has said why
        sys.exit(e.exit_code)
