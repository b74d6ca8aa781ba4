import json

from mhkd.errors import InputError
from mhkd.evaluation.report import collect, markdown

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


def test_nothing_to_report(tmp_path):
    with pytest.raises(InputError, match="no finished step"):
        collect(tmp_path)
    write(tmp_path, "0_teacher", 60.0, teacher={}, direct={})
    with pytest.raises(InputError, match="DATASETS.TEST was empty"):
        collect(tmp_path)
