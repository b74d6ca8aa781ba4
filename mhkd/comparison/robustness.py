"""``mhkd robustness``: AP of exported students against what may be wrong with a slide, one at a time."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from torch import nn
from tqdm import tqdm

from ..data.mapper import PairedResolutionMapper
from ..data.registrar import annotation_files
from ..engine.evaluation import evaluate, prepare_datasets
from ..engine.exported import exported_cfg, load_exported
from ..errors import InputError
from ..files import read_json, sha256, write_json, write_text
from ..modeling import is_student
from ..tables import csv_text, markdown_head, markdown_row
from .provenance import commit, hardware
from .scores import AGAIN


@dataclass(frozen=True)
class Axis:
    """Something that is varied while all else is as it is.

    Attributes:
        name: as it is asked for.
        label: with its unit.
        key: of INPUT.SCANNER; empty: it is the resolution.
        range: the least and the greatest strength that can be meant.
    """

    name: str
    label: str
    key: str
    range: tuple[float, float]


AXES = (
    Axis("blur", "blur: standard deviation, LR pixels", "BLUR_PX", (0, 100)),
    Axis("noise", "noise: standard deviation, grey levels of 255", "NOISE", (0, 255)),
    Axis("jpeg", "JPEG quality (0: not compressed)", "JPEG_QUALITY", (0, 100)),
    Axis("mpp", "error of the slide's mpp, %", "", (-50, 100)),
)


class WrongMppMapper(PairedResolutionMapper):
    """LR as a slide gives it whose recorded micrometres per pixel are wrong.

    Slides are read at the student's resolution, by what they record. Where a pixel really covers 20 % more
    than that, so does every LR pixel, and what is on it is smaller than the student knows it. So LR is made
    from HR at ``lr_factor * (1 + mpp_error)``, by exact means over areas (a real LR image is not used). Boxes
    come back in HR pixels all the same: in the slide's own pixels they are right whatever its mpp.
    """

    mpp_error = 0.0  # as a share

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        entry = super().__call__(dataset_dict)
        f = self.lr_factor
        entry["height"], entry["width"] = (dataset_dict[k] // f * f for k in ("height", "width"))
        return entry

    def _read(self, dataset_dict: dict[str, Any], view: str) -> np.ndarray:
        hr = super()._read(dataset_dict, "hr")
        factor = self.lr_factor * (1 + self.mpp_error)
        width, height = (max(1, round(side / factor)) for side in hr.shape[1::-1])
        return cv2.resize(hr, (width, height), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Student:
    """An exported student.

    Attributes:
        name: in table and picture.
        folder: with its weights and config.
        cfg: to be scored with.
        checksum: of both files.
    """

    name: str
    folder: Path
    cfg: CfgNode
    checksum: str

    @functools.cached_property
    def network(self) -> nn.Module:
        """Its classes in the order of the dataset's."""
        return load_exported(self.cfg, MetadataCatalog.get(self.cfg.DATASETS.TEST[0]).thing_classes)


def run_robustness(
    students: Mapping[str, Path],
    dataset: str,
    out: Path,
    strengths: Mapping[str, Sequence[float]],
    device: str = "",
    command: str = "",
) -> list[Path]:
    """Score every student at every strength of every axis; write ``robustness`` .json, .csv, .md and .png.

    What is scored is kept in ``out/scored/`` and not scored again.

    Args:
        students: name -> folder of an exported student.
        dataset: of COCO files, as in ``cfg.DATASETS``.
        strengths: of each axis by name; 0, the images as they are, is always among them.
        device: "cpu", "cuda", ...; empty: CUDA if there is one.
        command: to be recorded.

    Returns:
        The files written.

    Raises:
        InputError: no student, or of other classes than the dataset's; a strength out of its range.
    """
    axes = {axis: _checked(axis, strengths[axis.name]) for axis in AXES}
    known = [_student(name, folder, dataset, device) for name, folder in students.items()]
    for student in known:
        prepare_datasets(student.cfg, training=False)
    asked = [(s, axis, strength) for s in known for axis, found in axes.items() for strength in found]
    scores: dict[tuple[str, str, float], dict[str, Any]] = {}
    for student, axis, strength in tqdm(asked, desc="scoring", unit="strength"):
        scores[student.name, axis.name, strength] = _score(student, axis, strength, out)
    content: dict[str, Any] = {
        "dataset": dataset,
        "students": [{"name": s.name, "folder": str(s.folder), "checksum": s.checksum} for s in known],
        "axes": [{"name": a.name, "label": a.label, "strengths": list(found)} for a, found in axes.items()],
        "scores": [
            {"student": name, "axis": axis, "strength": strength, **found}
            for (name, axis, strength), found in scores.items()
        ],
        "command": command,
        "commit": commit(),
        "hardware": hardware(),
    }
    from ..visualization.robustness import plot_robustness  # draws, which scoring need not wait for

    stem = out / "robustness"
    write_json(content, stem.with_suffix(".json"))
    columns = list(content["scores"][0])
    lines = ([row.get(c) for c in columns] for row in content["scores"])
    write_text(csv_text(columns, lines), stem.with_suffix(".csv"))
    write_text(to_markdown(content), stem.with_suffix(".md"))
    plot_robustness(content, stem.with_suffix(".png"))
    return [stem.with_suffix(s) for s in (".md", ".csv", ".json", ".png")]


def to_markdown(content: dict[str, Any]) -> str:
    """AP of every student by axis and strength; ``content`` is that of the JSON file."""
    names = [s["name"] for s in content["students"]]
    ap = {(r["student"], r["axis"], r["strength"]): r["AP"] for r in content["scores"]}
    lines = [
        f"AP on LR in percent, `{content['dataset']}`:",
        "",
        *markdown_head("", "strength", *names),
    ]
    for axis in content["axes"]:
        for strength in axis["strengths"]:
            found = [ap[name, axis["name"], strength] for name in names]
            cells = ["–" if v is None else f"{v:.1f}" for v in found]
            lines.append(markdown_row(axis["label"], f"{strength:g}", *cells))
    return (
        "\n".join([*lines, "", f"`{content['command']}`; commit {content['commit']}, {content['hardware']}."])
        + "\n"
    )


def _checked(axis: Axis, strengths: Sequence[float]) -> tuple[float, ...]:
    """In ascending order, with 0."""
    low, high = axis.range
    for strength in strengths:
        if not low <= strength <= high:
            raise InputError(f"--{axis.name} {strength:g}: must lie between {low:g} and {high:g}")
    return tuple(sorted({0, *strengths}))


def _student(name: str, folder: Path, dataset: str, device: str) -> Student:
    cfg = exported_cfg(folder, device)
    if cfg.MHKD.TASK != "detection" or not is_student(cfg):
        raise InputError(f"{folder}: is no exported student of detection")
    files = [folder / "model_final.pth", folder / "config.yaml"]
    checksum = hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()
    cfg.defrost()
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST, cfg.MHKD.UNLABELED = (), (dataset,), ()
    for axis in AXES:
        if axis.key:
            cfg.INPUT.SCANNER[axis.key] = type(cfg.INPUT.SCANNER[axis.key])(0)
    return Student(name, folder, cfg, checksum)


def _score(student: Student, axis: Axis, strength: float, out: Path) -> dict[str, Any]:
    """AP, AP50, AP75 and AR in percent, None without objects; of strength 0, whatever the axis, once."""
    condition = f"{axis.name}_{strength:g}" if strength else "as_it_is"
    cfg = student.cfg.clone()
    (dataset,) = cfg.DATASETS.TEST
    cfg.OUTPUT_DIR = str(out / "scored" / student.checksum[:16] / condition)
    path = Path(cfg.OUTPUT_DIR) / "scores.json"
    stamp = {"student": student.checksum, "dataset": dataset}
    stamp |= {"annotations": [sha256(file) for file in annotation_files(dataset)]}
    if path.is_file():
        known = read_json(path, dict, AGAIN)
        if known.get("of") == stamp and isinstance(known.get("scores"), dict):
            return known["scores"]
    if axis.key:
        cfg.INPUT.SCANNER[axis.key] = type(cfg.INPUT.SCANNER[axis.key])(strength)
    mapper: WrongMppMapper | None = None
    if strength and not axis.key:
        mapper = WrongMppMapper(cfg, False, view="lr")
        mapper.mpp_error = strength / 100
    found = evaluate(cfg, student.network, "student", mapper)
    scores = {k: None if np.isnan(found[k]) else found[k] for k in ("AP", "AP50", "AP75", "AR")}
    write_json({"of": stamp, "scores": scores}, path)
    return scores
