import json

import mhkd.demo
from mhkd.demo import STORIES, gain, run_demo
from mhkd.evaluation.report import METRICS, TITLES

import cv2
import pytest
from small_demo import CONSTANTS, OPTIONS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("steps, count", [("recommended", 3), ("paper", 4)])
def test_demo_end_to_end_small_and_again(tmp_path, monkeypatch, steps, count):
    monkeypatch.setenv("DETECTRON2_DATASETS", "set by the demo")  # restored afterwards
    for name, value in CONSTANTS.items():
        monkeypatch.setattr(mhkd.demo, name, value)
    results = run_demo(tmp_path, options=OPTIONS, steps=steps)
    out, story = tmp_path / ("paper" if steps == "paper" else ""), STORIES[steps]

    assert json.loads((out / "results.json").read_text()) == results
    assert list(results) == [*TITLES, *(f"stage{i + 1}" for i in range(count))]
    assert gain(results) == results[f"stage{count}"]["AP"] - results["lr_only"]["AP"]
    teacher = (out / story.taught / "0_teacher").is_dir(), (out / story.alone / "0_teacher").is_dir()
    assert teacher == (True, False)  # LR alone starts from the same one, or from scratch
    for row in results.values():
        assert {*METRICS, "seconds"} <= set(row) and all(0 <= row[m] <= 100 for m in METRICS)
    assert all(row["seconds"] > 0 for key, row in results.items() if key != "direct_lr")
    table = (out / "results.md").read_text()
    assert table.count("\n") == 2 + len(results) and "AP-sclerotic" in table
    for picture in (out / "curves.png", out / "stages.png", *out.glob("overlays/*.png")):
        assert cv2.imread(str(picture)).std() > 5  # something is drawn
    assert len(list(out.glob("overlays/*.png"))) == 4  # a 512 px slide in 256 px tiles

    (final,) = (out / story.taught).glob(f"{count}_*/model_final.pth")
    before = final.stat().st_mtime_ns
    assert run_demo(tmp_path, options=OPTIONS, steps=steps) == results
    assert final.stat().st_mtime_ns == before
