from pathlib import Path

from mhkd.engine.averaging import build_average

import pytest
import torch
from killed_training import train
from support import tiny_config
from torch import nn


def test_averages_of_weights_statistics_and_counters():
    model = nn.BatchNorm1d(1)
    average = build_average(model, 0.25)
    for value in (1.0, 3.0, 3.0):
        with torch.no_grad():
            for tensor in (model.weight, model.bias, model.running_mean):
                tensor.fill_(value)
        model.num_batches_tracked += 1
        average.update_parameters(model)
    # The first is taken as it is; then 2/11 of it and 9/11 of the weights; then 3/12 and 9/12.
    expected = 0.25 * (2 / 11 * 1 + 9 / 11 * 3) + 0.75 * 3
    averaged = average.module
    for tensor in (averaged.weight, averaged.bias, averaged.running_mean):
        assert tensor.item() == pytest.approx(expected)
    assert averaged.num_batches_tracked == 3 and model.weight.item() == 3


@pytest.fixture
def averaging(disks_cfg):
    disks_cfg.merge_from_list(
        ["SOLVER.EMA_DECAY", 0.5, "SOLVER.CHECKPOINT_PERIOD", 1, "MHKD.STUDENT_ITERS", 12,
         "MODEL.RESNETS.NORM", "BN", "SOLVER.BASE_LR", 0.01, "MHKD.STAGE", 2, "DATASETS.TEST", ()]
    )  # fmt: skip
    return disks_cfg


@pytest.mark.slow
def test_a_step_exports_its_average_and_hands_it_on_and_resumes_exactly(averaging, tmp_path):
    other = tiny_config(tmp_path / "killed")
    other.merge_from_other_cfg(averaging)
    other.OUTPUT_DIR = str(tmp_path / "killed")
    trainer = train(averaging)
    train(other, kill_after=6)  # in the middle of step 2
    interrupted = torch.load(Path(other.OUTPUT_DIR, "checkpoint.pth"), weights_only=True)
    assert any(not torch.equal(w, interrupted["averaged"][k]) for k, w in interrupted["model"].items())
    resumed = train(other, resume=True)
    for k, value in trainer.distilled.state_dict().items():
        assert torch.equal(value, resumed.distilled.state_dict()[k]), k

    final = torch.load(Path(averaging.OUTPUT_DIR, "2_adaptive/model_final.pth"), weights_only=True)["model"]
    student = torch.load(Path(averaging.OUTPUT_DIR, "student/model_final.pth"), weights_only=True)["model"]
    for k, value in trainer.updates.scored.state_dict().items():
        assert torch.equal(value, final[k]), k
    assert all(torch.equal(value, final[f"student.{k}"]) for k, value in student.items())


@pytest.mark.slow
def test_the_first_step_of_a_training_is_what_it_is_without_averages(averaging, tmp_path):
    """The average follows the weights and does not lead them."""
    plain = averaging.clone()
    plain.OUTPUT_DIR, plain.SOLVER.EMA_DECAY = str(tmp_path / "plain"), 0.0
    for cfg in (averaging, plain):
        cfg.MHKD.TEACHER_ITERS, cfg.MHKD.STAGE = 3, 0
        train(cfg, kill_after=1)
    with_averages, without = (
        torch.load(Path(cfg.OUTPUT_DIR, "checkpoint.pth"), weights_only=True)["model"]
        for cfg in (averaging, plain)
    )
    assert all(torch.equal(value, without[k]) for k, value in with_averages.items())
