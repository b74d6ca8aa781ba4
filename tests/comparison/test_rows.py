import json
import re

from mhkd.cli import main
from mhkd.comparison.configs import row_cfg
from mhkd.comparison.plan import seconds_per_iteration
from mhkd.comparison.regimes import REGIMES, get_tables
from mhkd.comparison.rows import METHODS, TABLES, methods_of
from mhkd.config import add_mhkd_config, load_cfg
from mhkd.config_files import configs_folder
from mhkd.engine.optimizer import step_cfg
from mhkd.engine.record import differences
from mhkd.errors import InputError
from mhkd.modeling.bfa import bfa_of_levels
from mhkd.schedules import SCHEDULES, get_schedule, plan_steps

import pytest
import torch
from click.testing import CliRunner
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec


def test_what_an_iteration_costs_is_the_mean_of_what_was_measured(tmp_path):
    of_teacher = {"step": "0_teacher", "results": {}, "student_trains": []}
    files = [tmp_path / f"seed0/{row}/0_teacher/stage.json" for row in ("mhkd", "none")]
    for file, seconds in zip(files, (20, 40)):
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({**of_teacher, "seconds": seconds, "start_iter": 5, "end_iter": 15}))
    assert seconds_per_iteration(tmp_path) == {("teacher",): 3}
    for content in (
        {},
        {**of_teacher, "seconds": 1},
        {**of_teacher, "seconds": 1, "start_iter": 5, "end_iter": 5},
    ):
        files[0].write_text(json.dumps(content))
        with pytest.raises(InputError, match=f"{files[0]}: is no record of a step with its"):
            seconds_per_iteration(tmp_path)


def test_every_row_of_the_papers_tables_is_there():
    papers = {n: [r.method.key for r in t.rows if r.paper] for n, t in TABLES.items()}
    detectors = ["fcos", "atss", "dab_detr", "dino", "faster_rcnn", "cascade_rcnn", "baseline_kd", "mhkd"]
    assert papers == {
        "I": detectors,
        "II": detectors,
        "III": ["three_step", "mhkd"],
        "IV": ["online", "offline", "mhkd"],
        "V": ["none", "global_only", "local_only", "output_only"],
        "VI": ["single_step", "double_step", "mhkd"],
    }
    assert all(m.schedule in SCHEDULES for m in METHODS.values())
    mhkd = {n: r.paper["AP"] for n, t in TABLES.items() for r in t.rows if r.method.key == "mhkd"}
    assert mhkd == {"I": 55.8, "II": 39.3, "III": 55.8, "IV": 55.8, "VI": 55.8}
    assert {"none", "none_bfa", "none_from_teacher"} <= {r.method.key for r in TABLES["I"].rows}


def test_help_and_the_projects_readme_name_every_table():
    said = CliRunner().invoke(main, ["table", "--help"]).output
    listed = (configs_folder().parent / "README.md").read_text()
    for name in REGIMES:
        assert re.search(rf"\b{name}\b", said) and f"`{name}`" in listed


def test_each_training_is_listed_once_and_faster_rcnn_is_always_there():
    keys = [m.key for m in methods_of(get_tables("all"))]
    assert len(keys) == len(set(keys)) == len(METHODS)
    assert [m.key for m in methods_of(get_tables("iii"))] == ["faster_rcnn", "three_step", "mhkd"]
    assert [m.key for m in methods_of(get_tables("III"), ("mhkd",))] == ["faster_rcnn", "mhkd"]


@pytest.mark.parametrize("size", ["cpu", "full", "paper_cpu"])
def test_ablations_have_one_config_but_for_the_schedule(size, tmp_path):
    mhkd = row_cfg(METHODS["mhkd"], "kidney_roi", size, 0, tmp_path)
    for method in METHODS.values():
        if not method.is_direct:
            cfg = row_cfg(method, "kidney_roi", size, 0, tmp_path)
            assert cfg.MHKD.SCHEDULE == method.schedule and not differences(cfg, mhkd)


def test_the_papers_own_settings_as_a_size(tmp_path):
    cfg = row_cfg(METHODS["mhkd"], "hubmap", "paper", 0, tmp_path)
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.IMS_PER_BATCH, cfg.MHKD.LR_DECAY_EPOCHS) == (1e-3, 1, 5)
    assert cfg.MHKD.LR_RESTART and cfg.MHKD.STUDENT_ITERS == 4 * cfg.MHKD.TEACHER_ITERS
    default = get_cfg()
    add_mhkd_config(default)
    assert cfg.INPUT.AUG == default.INPUT.AUG and cfg.INPUT.FLIP_PROB == 0.5  # no augmentation but flips
    small = row_cfg(METHODS["mhkd"], "kidney_roi", "paper_cpu", 0, tmp_path)
    assert small.SOLVER.BASE_LR == 1e-3 and small.INPUT.AUG == default.INPUT.AUG
    # Decays at 5, 10 and 15 epochs of 20, in both.
    for one, images in ((cfg, 137), (small, 0)):
        steps = plan_steps(SCHEDULES["mhkd"], one.MHKD.TEACHER_ITERS, one.MHKD.STUDENT_ITERS)
        for step in steps[1:]:
            solver = step_cfg(one, step, steps, images).SOLVER
            assert [s / solver.MAX_ITER for s in solver.STEPS] == pytest.approx([0.25, 0.5, 0.75], abs=1e-3)
    with pytest.raises(InputError, match="KidneyROI has no config of size 'paper': choose one of cpu, full,"):
        row_cfg(METHODS["mhkd"], "kidney_roi", "paper", 0, tmp_path)


def test_bfa_at_the_papers_size(tmp_path):
    """264.27 M parameters more than the baseline's 47.33 M; in the CPU's table four times the usual."""

    def millions(cfg, in_channels, levels):
        sizes = {"levels": cfg.MODEL.BFA.LEVELS, "channels": cfg.MODEL.BFA.CHANNELS}
        shapes = {level: ShapeSpec(channels=in_channels) for level in levels}
        with torch.device("meta"):
            bfa = bfa_of_levels(shapes, num_blocks=cfg.MODEL.BFA.NUM_BLOCKS, **sizes)
        return sum(p.numel() for p in bfa.parameters()) / 1e6

    paper = row_cfg(METHODS["mhkd"], "hubmap", "paper", 0, tmp_path)
    assert millions(paper, 256, ("p2", "p3", "p4", "p5", "p6")) == pytest.approx(311.60 - 47.33, rel=0.01)
    (table,) = get_tables("bfa")
    methods = {r.method.key: r.method for r in table.rows}
    cfgs = [row_cfg(methods[k], "kidney_roi", "cpu", 0, tmp_path) for k in ("mhkd", "mhkd_large_bfa")]
    cfgs.append(row_cfg(METHODS["mhkd"], "kidney_roi", "paper_cpu", 0, tmp_path))
    usual, large, papers = (millions(cfg, 128, ("p3", "p4", "p5", "p6")) for cfg in cfgs)
    assert large / usual == pytest.approx(4, rel=0.05) and papers == large


@pytest.mark.parametrize("method", [m for m in METHODS.values() if m.is_direct], ids=lambda m: m.key)
@pytest.mark.slow
def test_direct_detectors_train_alone_on_the_same_data(method, tmp_path):
    for size, depth in (("cpu", 18), ("full", 101)):
        for dataset in ("kidney_roi", "ln"):
            cfg = row_cfg(method, dataset, size, 3, tmp_path)
            mhkd = row_cfg(METHODS["mhkd"], dataset, size, 3, tmp_path)
            assert (cfg.MODEL.META_ARCHITECTURE, cfg.MHKD.SCHEDULE) == ("DirectDetector", "direct")
            assert cfg.MODEL.RESNETS.DEPTH == depth
            assert cfg.DATASETS == mhkd.DATASETS and cfg.INPUT == mhkd.INPUT
            assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == mhkd.MODEL.ROI_HEADS.NUM_CLASSES
            assert cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST == mhkd.MODEL.ROI_HEADS.SCORE_THRESH_TEST
            assert cfg.MHKD.TEACHER_ITERS == mhkd.MHKD.TEACHER_ITERS


def test_the_cpu_sized_faster_rcnn_is_the_teacher(tmp_path):
    """So that it is trained once."""
    configs = (row_cfg(METHODS[k], "kidney_roi", "cpu", 0, tmp_path) for k in ("faster_rcnn", "mhkd"))
    different = differences(*configs, of_teacher=True)
    assert [d.split()[0] for d in different] == ["MODEL.META_ARCHITECTURE"]  # equal once exported


def test_students_of_a_regime_differ_in_their_schedule_and_share_a_teacher(tmp_path):
    mhkd = row_cfg(METHODS["mhkd"], "kidney_roi", "cpu", 0, tmp_path)
    for name, changed in {
        "all_labels": set(),
        "label_free": set(),
        "peers": set(),
        "few_labels": {"MHKD.LABELED_SHARE", "MHKD.UNLABELED_RATIO"},
        "few_labels_hr": {"MHKD.LABELED_SHARE", "MHKD.TEACHER_LABELED_SHARE", "MHKD.UNLABELED_RATIO"},
        "masks": {
            "MODEL.MASK_ON",
            "MODEL.ROI_MASK_HEAD.NUM_CONV",
            "MODEL.ROI_MASK_HEAD.CONV_DIM",
            "MODEL.ROI_MASK_HEAD.NORM",
        },
        "x8": {"INPUT.LR_FACTOR"},
        "scanner": {"INPUT.SCANNER.BLUR_PX", "INPUT.SCANNER.NOISE", "INPUT.SCANNER.JPEG_QUALITY"},
    }.items():
        (table,) = get_tables(name)
        methods = [r.method for r in table.rows]
        assert table.reference in {m.key for m in methods}
        cfgs = [row_cfg(m, "kidney_roi", "cpu", 0, tmp_path) for m in methods if not m.is_direct]
        assert {d.split()[0] for c in cfgs for d in differences(c, mhkd)} == changed
        of_teacher = {d.split()[0] for c in cfgs for d in differences(c, mhkd, of_teacher=True)}
        assert of_teacher == {k for k in changed if k.startswith(("MHKD.TEACHER_", "MODEL."))}
        for cfg in cfgs:
            assert get_schedule(cfg.MHKD.SCHEDULE, cfg.MHKD.STUDENT_START).student_start == "teacher"


def test_the_masks_of_a_table_are_those_of_the_config(tmp_path):
    (table,) = get_tables("masks")
    (row,) = (r for r in table.rows if r.method.key == "features_falling_masks")
    config = load_cfg(configs_folder() / "KidneyROI" / "mask_R18_FPN_cpu.yaml")
    assert row_cfg(row.method, "kidney_roi", "cpu", 0, tmp_path).MODEL == config.MODEL


def test_what_is_not_labelled_is_drawn_as_often_as_it_is_there(tmp_path):
    (table,) = get_tables("few_labels")
    of = {r.method.key: row_cfg(r.method, "kidney_roi", "cpu", 0, tmp_path).MHKD for r in table.rows}
    shares = {k: (c.LABELED_SHARE, c.UNLABELED_RATIO) for k, c in of.items() if k.startswith("mixed_")}
    assert shares == {"mixed_10": (0.1, 0.9), "mixed_25": (0.25, 0.75), "mixed_50": (0.5, 0.5)}
    assert of["none_10"].UNLABELED_RATIO == 0 and of["none_10"].LABELED_SHARE == 0.1


def test_bad_names_and_options(tmp_path):
    with pytest.raises(InputError, match="unknown table 'VII'.*I, II"):
        get_tables("VII")
    with pytest.raises(InputError, match="no row fcos.*three_step"):
        methods_of(get_tables("III"), ("fcos",))
    mhkd = METHODS["mhkd"]
    with pytest.raises(InputError, match="size 'huge'.*cpu, full"):
        row_cfg(mhkd, "kidney_roi", "huge", 0, tmp_path)
    with pytest.raises(InputError, match="MHKD.SCHEDULE is set by the table"):
        row_cfg(mhkd, "kidney_roi", "cpu", 0, tmp_path, ["MHKD.SCHEDULE", "none"])
    with pytest.raises(InputError, match="SOLVER.BASE_LRR"):
        row_cfg(mhkd, "kidney_roi", "cpu", 0, tmp_path, ["SOLVER.BASE_LRR", "1"])
    with pytest.raises(InputError, match="nothing_here_train"):
        row_cfg(mhkd, "nothing_here", "cpu", 0, tmp_path)
