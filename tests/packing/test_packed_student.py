"""A student as one file: what is packed works as before."""

import hashlib
import json
import shutil
import stat
import subprocess
from pathlib import Path

import mhkd
from mhkd.cli import main
from mhkd.config import load_cfg
from mhkd.engine.exported import export_cfg, export_network
from mhkd.errors import InputError
from mhkd.evaluation.threshold_file import record_threshold, working_threshold
from mhkd.modeling.build import build_network
from mhkd.packed_student import TRAINING_DATA, read_card
from mhkd.slide_detection.finished import find_finished
from mhkd.slide_detection.student import load_student
from mhkd.training_data import TrainingData, write_training_data

import pytest
import yaml
from blob_student import write_disks
from click.testing import CliRunner
from detectron2.engine import DefaultPredictor
from onnx_student import write_onnx_student
from packed import CHOICE, pack
from PIL import Image
from support import CONFIGS, mounted, room_for


def test_the_card_has_what_is_given_and_what_student_and_run_know(run, packed):
    weights = hashlib.sha256((run / "student" / "model_final.pth").read_bytes()).hexdigest()
    assert list(read_card(packed).items()) == [
        ("stain", "PAS"),
        ("task", "detection"),
        ("classes", ["glomerulus"]),
        ("mpp", 8.0),
        ("lr_factor", 4),
        ("data", "trained on mine_train"),
        ("scores", {"on": "mine_val, without intervals", "AP": "41.3", "AP-glomerulus": "41.3"}),
        ("threshold", {"score": 0.25, "from": "threshold.json of the student: best F1 on mine_choose"}),
        ("not_for", "diagnosis"),
        ("weights_sha256", weights),
        ("mhkd", mhkd.__version__),
    ]
    assert yaml.safe_load(pack(packed, "--show")) == read_card(packed)


def test_options_go_before_the_cards_file_and_that_before_the_run(run, tmp_path):
    card, out = tmp_path / "card.yaml", tmp_path / "mine.mhkd"
    card.write_text("stain: HE\ndata: 30 biopsies\nscanner: of the cheap kind\n")
    said = pack(run / "student", "--out", out, "--card", card, "--stain", "PAS")
    assert "says nothing of: name, licence, not_for" in said
    found = read_card(out)
    assert (found["stain"], found["data"], found["scanner"]) == ("PAS", "30 biopsies", "of the cheap kind")
    card.write_text("mpp: 2.0\n")
    said = pack(run / "student", "--out", tmp_path / "other.mhkd", "--card", card, exit_code=2)
    assert "card.yaml: mpp is 2.0, but the student has 8.0" in said
    assert not (tmp_path / "other.mhkd").exists()


def test_scores_come_with_their_intervals(run, tmp_path):
    scores, out = tmp_path / "scores.json", tmp_path / "mine.mhkd"
    content = {
        "num_slides": 5, "num_patients": 4, "unit": "patients", "score_threshold": 0.3,
        "scores": {"AP": {"value": 40.04, "interval": [31.0, 49.96]},
                   "AP75": {"value": None, "interval": None},
                   "glomerulus/precision": {"value": 70, "interval": None},
                   "glomerulus/count_bias": {"value": 1, "interval": None}},
    }  # fmt: skip
    scores.write_text(json.dumps(content))
    pack(run / "student", "--out", out, "--scores", scores)
    assert read_card(out)["scores"] == {
        "on": "5 slides of 4 patients; sensitivity, precision and F1 from a score of 0.3 on",
        "AP": "40.0 (95 % 31.0 to 50.0)",
        "glomerulus/precision": "70.0",
    }
    content = {"images": 9, "interval_by": "slide", "scores": {"accuracy": 90, "sensitivity-a": 1},
               "intervals": {"accuracy": [80, 95]}}  # fmt: skip
    scores.write_text(json.dumps(content))
    pack(run / "student", "--out", out, "--scores", scores)
    expected = {"on": "9 images, intervals by slide", "accuracy": "90.0 (95 % 80.0 to 95.0)"}
    assert read_card(out)["scores"] == expected
    scores.write_text('{"AP": 40}')
    said = pack(run / "student", "--out", out, "--scores", scores, exit_code=2)
    assert "scores.json: holds no scores" in said
    assert read_card(out)["scores"] == expected  # what was there stays


def test_a_full_disk_and_one_that_is_read_only_leave_the_file_that_was_there(run, tmp_path):
    out = tmp_path / "disk/glomeruli.mhkd"
    with mounted(out.parent, "size=10m"):
        pack(run / "student", "--out", out, "--stain", "PAS")
        before = out.read_bytes()
        again = (run / "student", "--out", out, "--stain", "H&E")
        with room_for(len(before) // 2):
            said = pack(*again, exit_code=2)
        assert (
            said
            == f"mhkd: error: {out}: cannot be written (File too large): make room or choose another folder\n"
        )
        subprocess.run(["mount", "-o", "remount,ro", out.parent], check=True)
        assert f"{out}: cannot be written (Read-only file system)" in pack(*again, exit_code=2)
        assert [p.name for p in out.parent.iterdir()] == [out.name] and out.read_bytes() == before


def test_the_same_student_makes_the_same_file(run, packed, tmp_path):
    pack(run / "student", "--out", tmp_path / "again.mhkd", "--stain", "PAS", "--not-for", "diagnosis")
    assert (tmp_path / "again.mhkd").read_bytes() == packed.read_bytes()


def test_a_packed_student_is_the_same_student(run, packed, temporary):
    ours, theirs = load_student(str(packed), "cpu"), load_student(str(run / "student"), "cpu")
    assert list(temporary.iterdir()) == []
    assert (ours.checksum, ours.sha256, ours.class_names) == (
        theirs.checksum,
        theirs.sha256,
        theirs.class_names,
    )
    assert (ours.folder, theirs.folder) == (str(packed), str(run / "student"))
    assert working_threshold(packed) == working_threshold(run / "student")
    assert working_threshold(packed).score == 0.25
    assert list(temporary.iterdir()) == []


def test_what_is_known_of_the_training_data_is_packed_too(run, packed, tmp_path):
    known = TrainingData.of([{"density": 0.3, "contrast": 0.1, "red": 0.2, "green": 0.5, "blue": 0.3}] * 5)
    student, out, bad = tmp_path / "student", tmp_path / "mine.mhkd", tmp_path / "bad.mhkd"
    shutil.copytree(run / "student", student)
    write_training_data(known, student)
    pack(student, "--out", out)
    old, new = load_student(str(packed)), load_student(str(out))
    assert old.training is None and new.training == known
    assert new.checksum == old.checksum  # slides that it has finished are not searched again
    (student / TRAINING_DATA).write_text('{"images": 5}')
    pack(student, "--out", bad)
    with pytest.raises(InputError, match=rf"bad.mhkd/{TRAINING_DATA}: records no training data"):
        load_student(str(bad))
    file, packed_file, bad_file = (tmp_path / name for name in ("good.onnx", "onnx.mhkd", "bad.onnx"))
    write_onnx_student(file, [[2, 2, 20, 20]], [0.9], [0], training_data=known.dump())
    pack(file, "--out", packed_file)
    assert load_student(str(packed_file)).training == load_student(str(file)).training == known
    write_onnx_student(bad_file, [[2, 2, 20, 20]], [0.9], [0], training_data={"images": 5})
    with pytest.raises(InputError, match="has training_data"):
        load_student(str(bad_file))


def test_default_predictor_takes_a_packed_one(packed):
    cfg = mhkd.load_student(packed, "cpu")
    assert cfg.MHKD.CLASSES == ["glomerulus"]
    place = Path(cfg.MODEL.WEIGHTS).parent
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    DefaultPredictor(cfg)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "onnx"])
def test_detect_takes_it_and_slides_that_its_student_finished_stay(
    kind, run, packed, onnx, tmp_path, temporary
):
    slide, *_ = write_disks(tmp_path / "disks.tiff", (1500, 1200))
    student = {"folder": run / "student", "onnx": onnx}[kind]
    if kind == "onnx":
        record_threshold(onnx, CHOICE, "mine_choose")
        packed = tmp_path / "onnx.mhkd"
        pack(onnx, "--out", packed)
        assert read_card(packed)["classes"] == ["normal", "sclerotic"]
    arguments = ["detect", slide, "--out", str(tmp_path / "out"), "--device", "cpu", "--student"]
    result = CliRunner().invoke(main, [*arguments, str(packed)])
    assert result.exit_code == 0, result.output
    assert "scores of 0.25 or more" in result.output
    (one,), _, _ = find_finished(tmp_path / "out")
    assert one.run["student"]["folder"] == str(packed)
    assert CliRunner().invoke(main, [*arguments, str(student)]).exit_code == 0
    (again,), _, _ = find_finished(tmp_path / "out")
    assert again.run["timings"] == one.run["timings"]  # of when it was searched
    said = CliRunner().invoke(
        main, ["score", str(tmp_path / "out"), "--annotations", slide, "--choose-threshold"]
    )
    assert said.exit_code == 2 and "is packed" in said.output
    assert list(temporary.iterdir()) == []


def test_what_is_no_file_to_pack_or_to_unpack(run, packed, onnx, tmp_path):
    assert "must end with .mhkd" in pack(run / "student", "--out", tmp_path / "mine.zip", exit_code=2)
    assert "is packed already" in pack(packed, "--out", tmp_path / "twice.mhkd", exit_code=2)
    assert "--out" in pack(packed, exit_code=2)
    assert "no other option" in pack(packed, "--show", "--stain", "PAS", exit_code=2)
    assert "no file of mhkd pack" in pack(onnx, "--show", exit_code=2)
    shutil.copytree(run / "student", tmp_path / "broken")
    (tmp_path / "broken" / "model_final.pth").write_bytes(b"PK")
    assert "cut short" in pack(tmp_path / "broken", "--out", tmp_path / "broken.mhkd", exit_code=2)
    assert not (tmp_path / "broken.mhkd").exists()


def test_overlay_takes_it(packed, disks_root, monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(disks_root))
    arguments = [
        "--student",
        str(packed),
        "--dataset",
        "disks_val@glomerulus",
        "--out",
        str(tmp_path),
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(main, ["overlay", *arguments])
    assert result.exit_code == 0, result.output
    assert "scores of 0.25 or more" in result.output and len(list(tmp_path.glob("**/*.png"))) == 2


def test_classify_takes_a_packed_classifier(tmp_path):
    cfg = load_cfg(CONFIGS / "Base-classification.yaml")
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.RESNETS.RES2_OUT_CHANNELS", 16])
    cfg.merge_from_list(["MODEL.RESNETS.STEM_OUT_CHANNELS", 16, "MHKD.CLASSES", ["dark", "pale"]])
    cfg = export_cfg(cfg, "student")
    export_network(build_network(cfg).state_dict(), cfg, tmp_path / "student")
    pack(tmp_path / "student", "--out", tmp_path / "kinds.mhkd")
    assert read_card(tmp_path / "kinds.mhkd")["task"] == "classification"
    Image.new("RGB", (64, 64), "pink").save(tmp_path / "image.png")
    told = []
    for student in ("student", "kinds.mhkd"):
        arguments = [
            tmp_path / "image.png",
            "--student",
            tmp_path / student,
            "--out",
            tmp_path / f"of_{student}",
        ]
        result = CliRunner().invoke(main, ["classify", *map(str, arguments), "--device", "cpu"])
        assert result.exit_code == 0, result.output
        told.append((tmp_path / f"of_{student}" / "classes.csv").read_text())
    assert told[0] == told[1]
