"""Students as folders and as one packed file, which strangers hand over."""

import hashlib
import io
import json
import shutil
import stat
import zipfile

from mhkd.engine.exported import export_cfg, export_network
from mhkd.evaluation.threshold_file import working_threshold
from mhkd.modeling.build import build_network
from mhkd.packed_student import CARD, read_card
from mhkd.slide_detection.student import load_student

import torch
from _kinds import Kind
from _kinds_of_annotations import _folder, _link, _pipe, _put
from _kinds_of_configs import configs
from _kinds_of_weights import _in_archive
from support import tiny_config


def _student(folder):
    torch.manual_seed(0)
    options = ["MODEL.ROI_HEADS.NUM_CLASSES", 2, "MHKD.CLASSES", ["a", "b"], "MHKD.LR_MPP", 8.0]
    cfg = export_cfg(tiny_config(folder, options), "student")
    export_network(build_network(cfg).state_dict(), cfg, folder / "student")
    weights = folder / "student" / "model_final.pth"
    content = {
        "score_threshold": 0.25,
        "chosen_on": "x",
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    (folder / "student" / "threshold.json").write_text(json.dumps(content))


def _loaded(path):
    def reads():
        student = load_student(path, "cpu", overlap_um=100.0)
        threshold = working_threshold(path)
        assert 0 <= threshold.score <= 1 and student.lr_mpp > 0 and student.tile_px > 0
        return [
            list(student.class_names),
            student.lr_mpp,
            student.lr_factor,
            student.tile_px,
            threshold.score,
        ]

    return reads


def _packed(folder):
    _student(folder)
    with zipfile.ZipFile(folder / "a.mhkd", "w") as archive:
        archive.writestr(CARD, "name: a\nstain: PAS\nclasses: [a, b]\n")
        for name in ("config.yaml", "model_final.pth", "threshold.json"):
            archive.write(folder / "student" / name, name)
    shutil.rmtree(folder / "student")


def _read_packed():
    card = read_card("a.mhkd")
    json.dumps(card, default=str)
    return [str(card), *_loaded("a.mhkd")()]


def _zip_of(*members):
    def write():
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, content, *kind in members:
                info = zipfile.ZipInfo(name)
                info.compress_type, info.external_attr = (
                    (*kind, zipfile.ZIP_STORED, 0o644 << 16)[:2] if kind else (0, 0o644 << 16)
                )
                archive.writestr(info, content)
        return file.getvalue()

    return _put(write, "a.mhkd")


CARD_OF_A = (CARD, "name: a\n")
ARCHIVES = {
    "a path upwards": _zip_of(CARD_OF_A, ("../outside/secret.txt", "x")),
    "an absolute path": _zip_of(CARD_OF_A, ("/tmp/mhkd_evil", "x")),
    "a drive": _zip_of(CARD_OF_A, ("C:\\x", "x")),
    "a name twice": _zip_of(CARD_OF_A, CARD_OF_A, ("config.yaml", "a: 1"), ("model_final.pth", "x")),
    "a bomb": _zip_of(
        CARD_OF_A, ("config.yaml", b"\0" * 50_000_000, zipfile.ZIP_DEFLATED), ("model_final.pth", "x")
    ),
    "a bomb of weights": _zip_of(
        CARD_OF_A, ("config.yaml", "a: 1"), ("model_final.pth", b"\0" * 90_000_000, zipfile.ZIP_DEFLATED)
    ),
    "bzip2": _zip_of(CARD_OF_A, ("config.yaml", "a: 1", zipfile.ZIP_BZIP2), ("model_final.pth", "x")),
    "lzma": _zip_of(CARD_OF_A, ("config.yaml", "a: 1", zipfile.ZIP_LZMA), ("model_final.pth", "x")),
    "a link": _zip_of(
        CARD_OF_A,
        ("config.yaml", "../outside/secret.yaml", 0, (stat.S_IFLNK | 0o777) << 16),
        ("model_final.pth", "x"),
    ),
    "many": _zip_of(CARD_OF_A, *((f"{k}", "x") for k in range(50_000))),
    "a card that runs": _zip_of(
        (CARD, "name: !!python/object/apply:os.system [touch RAN]"),
        ("config.yaml", "a: 1"),
        ("model_final.pth", "x"),
    ),
    "a card of lines": _zip_of(
        (CARD, 'name: "a\\nb\\e[2J"'), ("config.yaml", "a: 1"), ("model_final.pth", "x")
    ),
    "a card that is none": _zip_of((CARD, "- 1"), ("config.yaml", "a: 1"), ("model_final.pth", "x")),
    "a card of bytes": _zip_of((CARD, b"\xff\xfe\0"), ("config.yaml", "a: 1"), ("model_final.pth", "x")),
    "a config that runs": _zip_of(
        CARD_OF_A,
        ("config.yaml", "VERSION: !!python/object/apply:os.system [touch RAN]"),
        ("model_final.pth", "x"),
    ),
    "nothing": _put(b"PK\5\6" + bytes(18), "a.mhkd"),
    "a comment": _put(b"PK\5\6" + bytes(16) + b"\xff\xff" + b"x" * 65535, "a.mhkd"),
    "zip64 of 2^64": _put(
        b"PK\6\6"
        + (44).to_bytes(8, "little")
        + bytes(4)
        + b"\xff" * 40
        + b"PK\6\7"
        + bytes(16)
        + b"PK\5\6"
        + b"\xff" * 18,
        "a.mhkd",
    ),
    "a pipe": lambda folder: _pipe(folder / "a.mhkd"),
    "a folder": lambda folder: _folder(folder / "a.mhkd"),
    "a device": lambda folder: _link(folder / "a.mhkd", "/dev/zero"),
}

KINDS = [
    Kind(
        "student",
        _student,
        _loaded("student"),
        {
            "student/config.yaml": "yaml",
            "student/model_final.pth": "checkpoint",
            "student/threshold.json": "json",
        },
        configs("student/config.yaml")
        | _in_archive("student/model_final.pth")
        | {
            f"threshold {value!r:.30}": _put(
                json.dumps({"score_threshold": value, "weights_sha256": "0"}), "student/threshold.json"
            )
            for value in (None, "a", [], {}, -1, 2, True, float("nan"), 10**400)
        }
        | {
            "a threshold that is deep": _put("[" * 100_000, "student/threshold.json"),
            "a threshold that is a list": _put("[1]", "student/threshold.json"),
            "a threshold that is a pipe": lambda folder: _pipe(folder / "student/threshold.json"),
        },
        named=("student",),
        share=0.6,
    ),
    Kind("packed student", _packed, _read_packed, {"a.mhkd": "zip"}, ARCHIVES, share=0.6),
]
