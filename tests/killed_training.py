"""Trains as ``mhkd train`` does, in this process, to the end or until it is killed."""

from pathlib import Path

from mhkd.engine import DistillationTrainer, prepare_datasets

import pytest
import torch
from detectron2.engine import HookBase


class Killed(Exception):
    pass


class KillAfter(HookBase):
    """Stands last among the hooks: dies when everything else has been done for an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_step(self):
        if self.trainer.iter == self.iteration:
            raise Killed


def train(cfg, resume=False, kill_after=None):
    prepare_datasets(cfg)
    torch.manual_seed(cfg.SEED)
    trainer = DistillationTrainer(cfg)
    if kill_after is not None:
        trainer.register_hooks([KillAfter(kill_after)])
        with pytest.raises(Killed):
            trainer.train(resume)
    else:
        trainer.train(resume)
    return trainer


def final_weights(cfg, step="4_semantic"):
    return torch.load(Path(cfg.OUTPUT_DIR, step, "model_final.pth"), weights_only=True)["model"]


def assert_equal_weights(a, b):
    assert a.keys() == b.keys()
    different = [k for k in a if not torch.equal(a[k], b[k])]
    assert not different
