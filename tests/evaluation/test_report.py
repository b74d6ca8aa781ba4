import json

from mhkd.errors import InputError
from mhkd.evaluation.report import collect, markdown, read_stage

import pytest


def write(folder, step, seconds, **results):
    path = folder / step / "stage.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"step": step, "seconds": seconds, "results": results}))


def scores(ap):
    return {"AP": ap, "AP50": ap + 20, "AP75": ap - 10, "AR": 50.126, "APs": 1.0, "AP-a": ap, "AP-b": None}


def test_table_of_a_training(tmp_path):
    write(tmp_path / "mhkd", "0_teacher", 60.0, teacher=scores(40), direct=scores(15))
    write(tmp_path / "mhkd", "1_basic", 30.0, student=scores(20))
    write(tmp_path / "none", "1_none", 90.0, student=scores(30))
    results = collect(tmp_path / "mhkd", tmp_path / "none")
    assert list(results) == ["teacher_hr", "direct_lr", "lr_only", "stage1"]
    assert results["lr_only"] == {
        "AP": 30, "AP50": 50, "AP75": 20, "AR": 50.13, "AP-a": 30, "AP-b": None, "seconds": 90.0,
    }  # fmt: skip
    assert results["direct_lr"]["seconds"] == 0  # no training of its own
    lines = markdown(results).splitlines()
    assert lines[0] == "| | AP | AP50 | AP75 | AR | AP-a | AP-b | seconds |"
    assert lines[3] == "| teacher fed with LR (direct) | 15.0 | 35.0 | 5.0 | 50.1 | 15.0 | – | 0.0 |"


def test_a_teacher_that_trains_beside_the_student_is_named_with_its_step(tmp_path):
    write(tmp_path, "1_basic", 30.0, student=scores(20))
    write(tmp_path, "2_local", 30.0, student=scores(30), teacher=scores(41))
    results = collect(tmp_path)
    assert "teacher's AP on HR" not in results["stage1"] and results["stage2"]["teacher's AP on HR"] == 41
    head, _, *lines = markdown(results).splitlines()
    assert head.endswith("| AP-b | teacher's AP on HR | seconds |")
    assert [line.split(" | ")[-2:] for line in lines] == [["–", "30.0 |"], ["41.0", "30.0 |"]]


def test_steps_have_the_names_of_their_own_schedule(tmp_path):
    for k, step in enumerate(("1_basic", "2_local", "3_semantic", "4_features_w8")):
        write(tmp_path / "run", step, 30.0, student=scores(20 + k))  # its teacher was given
    results = collect(tmp_path / "run")
    assert list(results) == ["stage1", "stage2", "stage3", "stage4"]
    assert results["stage2"]["step"] == "2_local"
    assert [line.split(" | ")[0] for line in markdown(results).splitlines()[2:]] == [
        "| student after step 1, basic features",
        "| student after step 2, local features",
        "| student after step 3, output",
        "| student after step 4, features w8",
    ]


def test_each_of_two_test_sets_has_its_table(tmp_path):
    two = {f"{name}/{k}": v for name, ap in (("a_val", 40), ("b_val", 10)) for k, v in scores(ap).items()}
    write(tmp_path, "0_teacher", 60.0, teacher=two, direct=two)
    write(tmp_path, "1_basic", 30.0, student={k: v and v / 2 for k, v in two.items()})
    results = collect(tmp_path)
    assert results["stage1"]["b_val/AP"] == 5 and "b_val/APs" not in results["stage1"]
    first, second = markdown(results).split("b_val:")
    assert first.startswith("a_val:\n\n| | AP | AP50 | AP75 | AR | AP-a | AP-b | seconds |")
    assert "| student after step 1, basic features | 20.0 | 30.0 | 15.0 | 25.1 | 20.0 | – | 30.0 |" in first
    assert "| teacher on HR | 10.0 | 30.0 | 0.0 | 50.1 | 10.0 | – | 60.0 |" in second


def test_lr_only_is_of_the_same_test_set(tmp_path):
    """Whose name a record of one test set's scores has not."""
    for name, test_set in (("mhkd", "a_val"), ("none", "b_val")):
        write(tmp_path / name, "1_none", 90.0, student=scores(30))
        (tmp_path / name / "config.yaml").write_text(f"DATASETS:\n  TEST:\n  - {test_set}\n")
    with pytest.raises(
        InputError, match="none: was scored on b_val, .*mhkd on a_val: train both with the same"
    ):
        collect(tmp_path / "mhkd", tmp_path / "none")
    (tmp_path / "none/config.yaml").write_text("DATASETS: {TEST: [a_val]}\n")
    assert collect(tmp_path / "mhkd", tmp_path / "none")["lr_only"]["AP"] == 30


def test_what_was_not_trained_on_lr_alone_is_not_called_so(tmp_path):
    write(tmp_path / "run", "1_basic", 30.0, student=scores(20))
    path = tmp_path / "run" / "1_basic" / "stage.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "losses": {"detect": 1, "basic": 1}}))
    with pytest.raises(InputError, match="run: its last step is 1_basic: --lr-only is for"):
        collect(tmp_path / "run", tmp_path / "run")


def test_nothing_to_report(tmp_path):
    with pytest.raises(InputError, match="no finished step"):
        collect(tmp_path)
    write(tmp_path, "0_teacher", 60.0, teacher={}, direct={})
    with pytest.raises(InputError, match="0_teacher/stage.json: has no scores of the teacher: DATASETS.TEST"):
        collect(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"step": 7},
        {"step": "basic"},
        {"step": "1_a\nb"},
        {"step": "9999999_a"},
        {"results": None},
        {"results": []},
        {"results": {"student": 7}},
        {"results": {"student": {"AP": "x"}}},
        {"seconds": None},
        {"seconds": 10**400},
        {"seconds": ...},
        {"losses": [[]]},
        {"losses": "detect"},
    ],
    ids=str,
)
def test_a_record_that_is_none(tmp_path, change):
    path = tmp_path / "1_basic" / "stage.json"
    path.parent.mkdir()
    record = {
        "step": "1_basic",
        "results": {"student": {"AP": 1.5, "AP-a": None}, "teacher": None},
        "seconds": 2,
    }
    path.write_text(json.dumps(record))
    assert read_stage(path) == record
    path.write_text(json.dumps({k: v for k, v in {**record, **change}.items() if v is not ...}))
    with pytest.raises(InputError, match="stage.json: is no record of a step"):
        collect(tmp_path)
