"""A student as one file: what is packed works as before, and a stranger's is refused in one line."""

import hashlib
import json
import shutil
import stat
import subprocess
import tempfile
import zipfile
from pathlib import Path

import mhkd
from mhkd.cli import main
from mhkd.config import load_cfg
from mhkd.engine.exported import export_cfg, export_network
from mhkd.errors import InputError
from mhkd.evaluation.best_threshold import Choice
from mhkd.evaluation.threshold_file import record_threshold, working_threshold
from mhkd.modeling.build import build_network
from mhkd.packed_student import TRAINING_DATA, read_card, unpacked
from mhkd.slide_detection.finished import find_finished
from mhkd.slide_detection.student import load_student
from mhkd.training_data import TrainingData, write_training_data

import pytest
import torch
import yaml
from blob_student import write_disks
from click.testing import CliRunner
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_model
from onnx_student import write_onnx_student
from PIL import Image
from support import CONFIGS, mounted, room_for, tiny_config

CHOICE = Choice(0.25, 80.0, 75.0, 85.7, 30)


def pack(*arguments, exit_code=0):
    result = CliRunner().invoke(main, ["pack", *map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result.output


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a run whose last step has a score."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    options = ["MHKD.CLASSES", ["glomerulus"], "MODEL.ROI_HEADS.NUM_CLASSES", 1, "MHKD.LR_MPP", 8.0]
    options += ["DATASETS.TRAIN", ("mine_train",), "DATASETS.TEST", ("mine_val",)]
    options += ["INPUT.MIN_SIZE_TEST", 256, "INPUT.MAX_SIZE_TEST", 256, "TEST.DETECTIONS_PER_IMAGE", 10]
    cfg = export_cfg(tiny_config(folder, options), "student")
    weights = build_model(cfg).state_dict()
    for place in ("student", "1_basic/student"):
        export_network(weights, cfg, folder / place)
    report = {"step": "1_basic", "seconds": 2.0}
    report["results"] = {"student": {"AP": 41.27, "AP50": None, "AP-glomerulus": 41.27}}
    (folder / "1_basic" / "stage.json").write_text(json.dumps(report))
    record_threshold(folder / "student", CHOICE, "mine_choose")
    return folder


@pytest.fixture(scope="module")
def packed(run):
    out = run / "glomeruli.mhkd"
    pack(run / "student", "--out", out, "--stain", "PAS", "--not-for", "diagnosis")
    return out


@pytest.fixture
def onnx(tmp_path):
    path = tmp_path / "mine.onnx"
    write_onnx_student(path, [[2, 2, 20, 20]], [0.9], [0], lr_mpp=8.0)
    return path


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where private folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


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


def repack(packed, out, change):
    """``change`` gets a dict of name -> (ZipInfo, content), and may add names."""
    with zipfile.ZipFile(packed) as archive:
        members = {m.filename: [m, archive.read(m)] for m in archive.infolist()}
    members = change(members) or members
    with zipfile.ZipFile(out, "w") as archive:
        for member, content in members.values():
            archive.writestr(member, content)


def added(name, content=b"x"):
    return lambda members: members | {name: [zipfile.ZipInfo(name), content]}


def without(name):
    return lambda members: {k: v for k, v in members.items() if k != name}


def compressed(members):
    members["config.yaml"][0].compress_type = zipfile.ZIP_DEFLATED


def a_link(members):
    members["config.yaml"][0].external_attr = (stat.S_IFLNK | 0o777) << 16
    members["config.yaml"][1] = b"/etc/hostname"


def twice(members):
    return members | {"again": [zipfile.ZipInfo("config.yaml"), b"MODEL: {}"]}


def cut_weights(members):
    members["model_final.pth"][1] = members["model_final.pth"][1][:1000]


def pickled(members):
    members["card.yaml"][1] = b"name: !!python/object/apply:os.system [touch ran]"


STRANGERS = {
    "a path upwards": (added("../evil.pth"), r"holds '\.\./evil\.pth'"),
    "an absolute path": (added("/tmp/evil.pth"), "holds '/tmp/evil.pth'"),
    "a folder": (added("student/"), "holds 'student/'"),
    "code": (added("model.py"), "holds 'model.py'"),
    "a student of each kind": (added("student.onnx"), "but not card.yaml and either"),
    "another's threshold": (added("student.threshold.json"), "but not card.yaml and either"),
    "no weights": (without("model_final.pth"), "but not card.yaml and either"),
    "no config": (without("config.yaml"), "but not card.yaml and either"),
    "no card": (without("card.yaml"), "but not card.yaml and either"),
    "compressed": (compressed, "'config.yaml' in it is compressed"),
    "a link": (a_link, "'config.yaml' in it is no plain file"),
    "a name twice": (twice, "holds 'config.yaml' twice"),
    "a huge config": (added("config.yaml", b"x" * 300_000), "'config.yaml' in it is larger than 256 KiB"),
    "weights cut short": (cut_weights, "/model_final.pth: .*cut short"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("change, message", STRANGERS.values(), ids=STRANGERS)
def test_a_strangers_file_is_refused_and_leaves_nothing(change, message, packed, tmp_path, temporary):
    path = tmp_path / "stranger.mhkd"
    repack(packed, path, change)
    with pytest.raises(InputError, match=rf"stranger\.mhkd.*{message}") as e:
        load_student(str(path), "cpu")
    assert str(temporary) not in str(e.value)
    assert list(temporary.iterdir()) == []


def test_nothing_on_a_card_is_executed(packed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    repack(packed, tmp_path / "stranger.mhkd", pickled)
    assert "no YAML that is safe to read" in pack("stranger.mhkd", "--show", exit_code=2)
    assert not (tmp_path / "ran").exists()


def test_no_damaged_byte_is_anything_but_one_error(packed, tmp_path):
    content, path = packed.read_bytes(), tmp_path / "damaged.mhkd"
    begin = content.index(b"PK\x01\x02", len(content) - 1000)  # the directory at the end
    places = [*range(begin, len(content)), *range(0, begin, begin // 50)]
    errors = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            with unpacked(path) as folder:
                for name in ("config.yaml", "model_final.pth"):
                    with zipfile.ZipFile(packed) as archive:
                        assert Path(folder, name).read_bytes() == archive.read(name)
        except InputError as e:
            assert "damaged.mhkd" in str(e)
            errors += 1
    assert errors > len(places) / 4
    for length in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"damaged\.mhkd"), unpacked(path):
            pass


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
