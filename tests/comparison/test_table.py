"""Tables for real: tiny networks, a drawn dataset, trainings that share their steps."""

import csv
import json
import os
import shutil

from mhkd.cli import main
from mhkd.comparison.plan import find_planned, find_shared
from mhkd.comparison.regimes import get_tables
from mhkd.comparison.report import to_csv, to_markdown
from mhkd.comparison.rows import METHODS, TABLES, Method, methods_of
from mhkd.comparison.run import check_packages, plan, run_tables
from mhkd.engine import DistillationTrainer
from mhkd.engine.record import settings_differences
from mhkd.errors import InputError
from mhkd.evaluation.bootstrap import groups_of, verdict
from mhkd.files import sha256
from mhkd.visualization.comparison import plot_cost, plot_table

import cv2
import pytest
from click.testing import CliRunner
from detectron2.engine import HookBase
from support import DISKS, TINY, mounted, write_disks

pytestmark = pytest.mark.slow

PAIRS = dict(zip(TINY[::2], TINY[1::2])) | dict(zip(DISKS[::2], DISKS[1::2]))
OPTIONS = [x for k, v in PAIRS.items() if not k.startswith("DATASETS.") for x in (k, v)]


class Filled:
    def __init__(self, out):
        self.out = out
        self.root = out / "disks_cpu"
        self.said = []

    def fill(self, table, seeds=(0,), options=(), **more):
        self.said = []
        options = [*OPTIONS, *options]
        return run_tables(
            table, "disks", "cpu", seeds, self.out, options, samples=30, echo=self.said.append, **more
        )

    def plan(self, table, options=()):
        return plan(methods_of(get_tables(table)), "disks", "cpu", [0], self.root, [*OPTIONS, *options])


@pytest.fixture(scope="module")
def filled(tmp_path_factory, disks_root):
    """Table III of one seed."""
    patch = pytest.MonkeyPatch()
    patch.setenv("DETECTRON2_DATASETS", str(disks_root))
    filled = Filled(tmp_path_factory.mktemp("tables"))
    filled.fill("III", command="make table TABLE=III")
    yield filled
    patch.undo()


def test_the_teacher_is_trained_once(filled):
    seed = filled.root / "seed0"
    assert sorted(p.name for p in seed.iterdir()) == ["faster_rcnn", "mhkd", "three_step"]
    teachers = seed.glob("*/0_teacher/model_final.pth")
    assert len({p.stat().st_ino for p in teachers}) == 1  # hard links
    assert not list(filled.root.rglob("*.tmp"))


def test_what_a_table_says(filled):
    content = json.loads((filled.root / "table_III.json").read_text())
    assert [r["key"] for r in content["rows"]] == ["three_step", "mhkd"]
    three, mhkd = content["rows"]
    assert three["paper"] == {"AP": 49.0, "AP50": 70.5, "AP75": 60.6, "AR": 59.3}
    assert set(mhkd["scores"]) == {"AP", "AP50", "AP75", "AR", "AP-disk"}
    stage = json.loads((filled.root / "seed0/mhkd/4_semantic/stage.json").read_text())
    assert mhkd["scores"]["AP"]["mean"] == pytest.approx(stage["results"]["student"]["AP"])
    assert mhkd["scores"]["AP"]["std"] is None  # one seed
    assert mhkd["parameters"] > three["parameters"] and mhkd["flops"] > three["flops"] > 1e6  # BFA
    assert mhkd["time_ratio"] > 0 and mhkd["training_seconds"] > 0
    assert three["difference"]["to"] == "mhkd" and "difference" not in mhkd
    assert content["command"] == "make table TABLE=III" and content["test_images"] == 2
    assert content["detections_per_image"] == 100
    assert (content["interval_by"], content["interval_groups"]) == ("slide", 2)
    (pair,) = content["pairs"]
    assert pair["rows"] == ["three_step", "mhkd"] and pair["paper"] == "lower"

    text = (filled.root / "table_III.md").read_text()
    assert "| without BFA (three steps) |" in text and "| 49.0 | 70.5 | 60.6 | 59.3 |" in text
    assert "in percent, at most 100 detections an image." in text
    assert "95 % interval by slide: the 2 of the test set drawn with replacement" in text
    assert "undecided where it includes 0. 2 slides are few: an interval from so few means little." in text
    with open(filled.root / "table_III.csv", encoding="utf-8-sig") as f:
        rows = list(csv.DictReader(f))
    assert [r["row"] for r in rows] == ["three_step", "mhkd"] and float(rows[1]["paper_AP"]) == 55.8
    for name in ("table_III.png", "table_III_regions.png"):
        assert min(cv2.imread(str(filled.root / name)).shape[:2]) > 150


def test_classes_parameters_and_seconds_stand_beside_the_papers(filled):
    content = json.loads((filled.root / "table_III.json").read_text())
    papers = {r.method.key: r.paper for r in TABLES["I"].rows}
    for row, key in zip(content["rows"], ("baseline_kd", "mhkd")):
        row["paper"] = papers[key]
        for name in ("Slight", "Other"):
            row["scores"][f"AP-{name}"] = {"mean": 12.3, "std": None, "values": [12.3]}
        del row["scores"]["AP-disk"]
    head, _, first, second = [x.split(" | ") for x in to_markdown(content).splitlines() if x.startswith("|")]
    assert head[1:7] == ["AP", "AP50", "AP75", "AR", "AP-Slight", "AP-Other"]
    papers_own = ["AP", "AP50", "AP75", "AR", "AP-Slight", "M parameters", "s |"]
    assert head[-7:] == [f"paper: {name}" for name in papers_own]  # no class that there is not here
    assert first[-7:] == ["40.3", "60.6", "47.7", "55.7", "63.6", "47.33", "6.27 |"]
    assert second[-7:] == ["55.8", "76.9", "68.8", "63.8", "69.5", "311.60", "6.54 |"]


def test_a_test_set_of_one_slide_has_no_intervals_and_no_verdicts(filled, tmp_path):
    content = json.loads((filled.root / "table_III.json").read_text())
    content |= {
        "interval_groups": 1,
        "interval_remark": groups_of([{"image_id": 1, "slide": "a"}] * 2).remark(),
    }
    for row in content["rows"]:
        row["AP_interval"] = None
        if "difference" in row:
            row["difference"] |= {"interval": None, "verdict": verdict(None)}
    text = to_markdown(content)
    assert "Differences in AP without intervals: they need two slides or more, so all are undecided." in text
    (line,) = [x for x in text.splitlines() if x.startswith("| without BFA")]
    assert " | undecided | " in line and "[" not in line
    (row, _) = csv.DictReader(to_csv(content).splitlines())
    assert row["difference_low"] == "" and row["verdict"] == "undecided"
    for plot in (plot_table, plot_cost):
        assert min(cv2.imread(str(plot(content, tmp_path / "table.png"))).shape[:2]) > 150


def test_students_that_are_trained_in_several_ways_have_one_teacher(filled):
    """Averaged weights would be the teacher's own as well."""
    filled.fill("options", only=("half_none", "half_ema"))
    teacher, plain, averaged, *_ = filled.plan("options")
    given = sha256(teacher.network_folder / "model_final.pth")[:16]
    for (report,) in (plain.reports(), averaged.reports()):
        assert report["sources"]["MODEL.TEACHER.WEIGHTS"] == f"sha256 {given}"
    content = json.loads((filled.root / "table_options.json").read_text())
    assert [r["key"] for r in content["rows"]] == ["half_none", "half_ema"]
    assert content["rows"][1]["difference"]["to"] == "half_none"


def test_the_plan_tells_what_is_shared_and_what_is_left(filled):
    faster, online, offline, mhkd = filled.plan("IV")
    assert faster.finished == 1 and mhkd.finished == 5
    names = {t.method.key: [p.name for p in find_shared(t, filled.root / "seed0")] for t in (online, offline)}
    assert names == {"online": ["0_teacher"], "offline": ["0_teacher", "1_basic", "2_adaptive"]}
    filled.fill("IV", dry_run=True)
    assert filled.said[1].startswith("online, seed 0") and "8 iterations" in filled.said[1]
    assert "4 iterations" in filled.said[2] and "shares 0_teacher, 1_basic, 2_adaptive" in filled.said[2]
    # Where nothing is trained yet, the plan knows what will be.
    nowhere = plan(methods_of(get_tables("IV")), "disks", "cpu", [5], filled.root, OPTIONS)
    assert [find_planned(t, nowhere[:k]) for k, t in enumerate(nowhere)] == [
        [], ["0_teacher"], ["0_teacher"], ["0_teacher", "1_basic", "2_adaptive"]
    ]  # fmt: skip


def test_a_start_from_the_teacher_shares_the_teacher_alone(filled):
    (training,) = plan([METHODS["mhkd_from_teacher"]], "disks", "cpu", [0], filled.root, OPTIONS)
    assert [p.name for p in find_shared(training, filled.root / "seed0")] == ["0_teacher"]


def test_a_step_is_not_shared_between_a_student_with_bfa_and_one_without(filled, tmp_path):
    """Though both are two iterations of the same losses: other random weights, and no BFA to go on with."""
    restart = [*OPTIONS, "MHKD.LR_RESTART", True, "MHKD.STUDENT_ITERS"]
    methods = {m.key: m for m in methods_of(get_tables("III"))}
    (without,) = plan([methods["three_step"]], "disks", "cpu", [0], tmp_path, [*restart, 6])
    (with_bfa,) = plan([methods["mhkd"]], "disks", "cpu", [0], tmp_path, [*restart, 8])
    assert without.steps[1].describe() == with_bfa.steps[1].describe()
    assert find_planned(with_bfa, [without]) == ["0_teacher"]
    # The same where it is trained: these rows are, with one course of the learning rate.
    seed = filled.root / "seed0"
    fewer = [*OPTIONS, "MHKD.STUDENT_ITERS", 6]
    (again,) = plan([methods["three_step"]], "disks", "cpu", [0], tmp_path, fewer)
    assert [p.name for p in find_shared(again, seed)] == ["0_teacher"]
    different = settings_differences(with_bfa.steps[1], with_bfa.cfg, without.cfg)
    assert different == ["whether the student was built with BFA was False, asked for True"]


def test_a_row_that_lost_its_last_step_trains_that_step(filled):
    folder = filled.root / "seed0/mhkd"
    before = json.loads((folder / "4_semantic/stage.json").read_text())["results"]
    untouched = filled.root / "seed0/three_step/3_semantic/model_final.pth"
    written = untouched.stat().st_mtime_ns
    shutil.rmtree(folder / "4_semantic")
    filled.fill("III", dry_run=True)
    (line,) = [x for x in filled.said if x.startswith("mhkd")]
    assert "2 iterations" in line and "resumes at 8" in line
    filled.fill("III", command="after a loss")
    assert json.loads((folder / "4_semantic/stage.json").read_text())["results"] == before
    assert untouched.stat().st_mtime_ns == written
    assert filled.fill("III", dry_run=True) == []
    assert [line.split()[-1] for line in filled.said[:3]] == ["finished"] * 3


def test_a_full_disk_is_one_line_and_the_table_goes_on_later(filled, tmp_path):
    with mounted(tmp_path / "disk", "size=100m") as disk:
        other = Filled(disk)
        shutil.copytree(filled.root, other.root)
        lost = other.root / "seed0/mhkd/4_semantic"
        before = json.loads((lost / "stage.json").read_text())["results"]
        tables = {path: path.read_bytes() for path in other.root.glob("table_*")}
        shutil.rmtree(lost)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "filler").write_bytes(bytes(free - 2**17))  # what is left takes a log, and no weights
        with pytest.raises(InputError, match=f"^{disk}.*: cannot be written .No space left on device.: make"):
            other.fill("III")
        assert tables and {path: path.read_bytes() for path in tables} == tables
        assert not (lost / "stage.json").exists() and not list(other.root.rglob("*.tmp"))
        (disk / "filler").unlink()
        other.fill("III")
        assert json.loads((lost / "stage.json").read_text())["results"] == before


def test_rows_of_other_settings_are_refused(filled):
    for options, said in (
        (["SOLVER.BASE_LR", 0.5], "SOLVER.BASE_LR was 0.01, asked for 0.5"),
        (["MHKD.STUDENT_ITERS", 16], "end_iter was 5, asked for 7"),
        (["MODEL.BFA.CHANNELS", 4], "MODEL.BFA.CHANNELS was 8, asked for 4"),
    ):
        with pytest.raises(InputError, match=f"other settings.*{said}.*another --out"):
            filled.fill("III", options=options, dry_run=True)
    filled.fill("III", options=["DATALOADER.NUM_WORKERS", 1, "SOLVER.CHECKPOINT_PERIOD", 7], dry_run=True)


def test_rows_from_before_regions_were_ignored_stand_where_there_are_none(filled, tmp_path, monkeypatch):
    other = Filled(tmp_path / "tables")
    shutil.copytree(filled.root, other.root)
    for path in other.root.glob("seed0/*/*/stage.json"):
        report = json.loads(path.read_text())
        assert report.pop("ignored_regions") == "no label"
        del report["sources"]
        path.write_text(json.dumps(report))
    other.fill("III", dry_run=True)
    assert [line.split()[-1] for line in other.said[:3]] == ["finished"] * 3

    path = write_disks(tmp_path) / "annotations_train.json"
    content = json.loads(path.read_text())
    content["annotations"][3]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(InputError, match="crowds and cut objects.*were background.*another --out"):
        other.fill("III", dry_run=True)
    with pytest.raises(InputError, match="annotations of disks_train was sha256.*another --out"):
        filled.fill("III", dry_run=True)


def test_a_half_trained_row_of_other_settings_is_refused(filled, tmp_path):
    other = Filled(tmp_path)
    folder = other.root / "seed0/none"
    options = [*OPTIONS, "SOLVER.CHECKPOINT_PERIOD", 3]
    (training,) = plan([METHODS["none"]], "disks", "cpu", [0], other.root, options)

    class Stop(HookBase):
        def after_step(self):
            if self.trainer.iter == 4:
                raise KeyboardInterrupt

    trainer = DistillationTrainer(training.cfg)
    trainer.register_hooks([Stop()])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert (folder / "checkpoint.pth").is_file()
    (again,) = plan([METHODS["none"]], "disks", "cpu", [0], other.root, OPTIONS)
    assert (again.finished, again.reached) == (0, 3)
    with pytest.raises(InputError, match="checkpoint.pth: was trained with other.*BASE_LR was 0.01"):
        plan([METHODS["none"]], "disks", "cpu", [0], other.root, [*OPTIONS, "SOLVER.BASE_LR", 0.5])


def test_bad_input_is_one_clear_error(filled, tmp_path):
    with pytest.raises(InputError, match="rows x need.*pip install 'no_such_package>=2', or"):
        check_packages([Method("x", "X", "direct", "x", ("no_such_package>=2",))])
    runner = CliRunner()
    for arguments, said in (
        (["VII"], "unknown table 'VII'"),
        (["III", "--dataset", "disks_of_nobody"], "disks_of_nobody_train"),
        (["III", "--dataset", "disks", "--seeds", "a"], "--seeds 'a'"),
        (["III", "--dataset", "disks", "--rows", "fcos"], "no row fcos"),
    ):
        result = runner.invoke(main, ["table", *arguments, "--out", str(tmp_path), "--dry-run"])
        assert result.exit_code == 2 and said in result.output, result.output
        assert "Traceback" not in result.output
