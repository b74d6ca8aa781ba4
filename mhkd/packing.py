"""Writes a packed student, see :mod:`mhkd.packed_student`: its files and a card that says what it is for."""

import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .errors import InputError
from .evaluation.report import read_stage
from .evaluation.threshold_file import WEIGHTS, threshold_path, weights_of, working_threshold
from .files import read_json, replacing, sha256
from .onnx_file import is_onnx, load_onnx
from .packed_student import CARD, FOLDER, ONNX, SUFFIX, THRESHOLDS, TRAINING_DATA, is_packed, read_card
from .version import __version__
from .yaml_files import MAX_BYTES, one_line, parse_yaml, read_text

FROM_PEOPLE = ("name", "stain", "data", "scores", "licence", "not_for")  # what no student knows of itself
ORDER = (
    "name", "stain", "task", "classes", "mpp", "lr_factor", "data", "scores", "threshold", "licence",
    "not_for", "weights_sha256", "mhkd",
)  # fmt: skip
SHOWN = ("AP", "AR", "accuracy", "balanced_accuracy", "kappa", "auc")  # begin, or end, names of scores
_AGAIN = "write it anew, or name another file"
_AT_THRESHOLD = ("/sensitivity", "/precision", "/f1")


def pack_student(
    student: str | os.PathLike[str],
    out: str | os.PathLike[str],
    given: Mapping[str, Any],
    card_file: str | os.PathLike[str] | None = None,
    scores_file: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Put a student and its card into one file.

    Args:
        student: folder of an exported student, or an ``.onnx`` file. It is loaded, to see that it works.
        out: the file, which ends in ``.mhkd``.
        given: fields of the card; None: not given. They go before those of ``card_file``, those before what
            the run's folder knows.
        card_file: YAML with fields of the card, also others than ours.
        scores_file: ``scores.json`` of ``mhkd score``, or of a classifier's evaluation.

    Returns:
        The card.

    Raises:
        InputError: the student cannot be used, or a file cannot be read or written.
    """
    student, out = Path(student), Path(out)
    if out.suffix.lower() != SUFFIX:
        raise InputError(f"--out {out}: the name of a packed student must end with {SUFFIX}")
    if is_packed(student):
        raise InputError(f"{student}: is packed already: give the student's folder or its .onnx file")
    facts, of_run = _of_onnx(student) if is_onnx(student) else _of_folder(student)
    facts |= {"weights_sha256": sha256(weights_of(student)), "mhkd": __version__}
    written = _read_card_file(card_file) if card_file else {}
    for key in facts.keys() & written.keys():
        if written[key] != facts[key] and key != "mhkd":
            raise InputError(
                f"{card_file}: {key} is {written[key]}, but the student has {facts[key]}: remove that line"
            )
    if scores_file:
        of_run["scores"] = _scores_of(Path(scores_file))
    card = {**of_run, **written, **{k: v for k, v in given.items() if v is not None}, **facts}
    card = {k: card[k] for k in (*ORDER, *sorted(card.keys() - set(ORDER))) if card.get(k) is not None}
    text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=100)
    if len(text.encode()) > MAX_BYTES:
        raise InputError(f"{card_file}: makes a card of more than {MAX_BYTES // 1024} KiB: shorten it")
    names = (ONNX,) if is_onnx(student) else FOLDER
    files = {names[0]: student} if is_onnx(student) else {name: student / name for name in names}
    if threshold_path(student).is_file():
        files[THRESHOLDS[names]] = threshold_path(student)
    if names == FOLDER and (student / TRAINING_DATA).is_file():
        files[TRAINING_DATA] = student / TRAINING_DATA
    with replacing(out) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_member(CARD), text)
            for name, path in files.items():
                with open(path, "rb") as source, archive.open(_member(name, path), "w") as packed:
                    shutil.copyfileobj(source, packed, 2**20)
        read_card(temporary)
    return card


def _member(name: str, path: Path | None = None) -> zipfile.ZipInfo:
    """Without a time, so that the same student makes the same file."""
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o100644 << 16
    member.file_size = path.stat().st_size if path else 0  # a large one is written otherwise
    return member


def _of_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an exported student and its run know."""
    from .engine.exported import load_student  # torch, which an .onnx student does without

    cfg = load_student(folder, "cpu")
    facts: dict[str, Any] = {
        "task": cfg.MHKD.TASK,
        "classes": list(cfg.MHKD.CLASSES),
        "mpp": cfg.MHKD.LR_MPP or None,
        "lr_factor": cfg.INPUT.LR_FACTOR,
        "threshold": _threshold(folder),
    }
    of_run: dict[str, Any] = {}
    if cfg.DATASETS.TRAIN:
        of_run["data"] = f"trained on {', '.join(cfg.DATASETS.TRAIN)}"
    scores = _scores_of_run(folder)
    if scores:
        of_run["scores"] = {"on": f"{', '.join(cfg.DATASETS.TEST)}, without intervals", **scores}
    return facts, of_run


def _of_onnx(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    record = load_onnx(os.path.abspath(path)).record
    facts = {
        "task": "detection",
        "classes": record.classes,
        "mpp": record.lr_mpp or None,
        "lr_factor": record.lr_factor,
        "threshold": _threshold(path),
    }
    return facts, {}


def _threshold(student: Path) -> dict[str, Any] | None:
    threshold = working_threshold(student)
    return {"score": threshold.score, "from": threshold.source} if threshold.is_chosen else None


def _scores_of_run(folder: Path) -> dict[str, str]:
    """Of the step that made these weights, where the folder still lies in its run."""
    run = folder.absolute().parent
    mine = None
    for path in (run / "stage.json", *sorted(run.glob("*_*/stage.json"))):
        weights = path.parent / "student" / WEIGHTS
        if not (path.is_file() and weights.is_file()):
            continue
        mine = mine or sha256(folder / WEIGHTS)
        if sha256(weights) == mine:
            found = read_stage(path)["results"].get("student") or {}
            return {k: f"{v:.1f}" for k, v in found.items() if isinstance(v, (int, float)) and _is_shown(k)}
    return {}


def _scores_of(path: Path) -> dict[str, str]:
    """Scores with their intervals, of ``mhkd score`` or of a classifier's evaluation."""
    content = read_json(path, dict, _AGAIN)
    try:
        scores, intervals = content["scores"], content.get("intervals")
        if intervals is None:
            on = f"{content['num_slides']} slides of {content['num_patients']} {content['unit']}"
            from_score = f"; sensitivity, precision and F1 from a score of {content['score_threshold']:g} on"
            found = {"on": on + from_score}
            values = {k: (v["value"], v["interval"]) for k, v in scores.items()}
        else:
            found = {"on": f"{content['images']} images, intervals by {content['interval_by']}"}
            values = {k: (v, intervals.get(k)) for k, v in scores.items()}
        for name, (value, interval) in values.items():
            if value is not None and (_is_shown(name) or name.endswith(_AT_THRESHOLD)):
                ends = f" (95 % {interval[0]:.1f} to {interval[1]:.1f})" if interval else ""
                found[name] = f"{value:.1f}{ends}"
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as e:
        raise InputError(
            f"{path}: holds no scores ({one_line(e)}): give scores.json of mhkd score, or of a classifier's "
            "inference/student/<dataset>/"
        ) from e
    return found


def _is_shown(name: str) -> bool:
    return name.rsplit("/", 1)[-1].startswith(SHOWN)


def _read_card_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    content = parse_yaml(read_text(Path(path)), path)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path}: is no card: write KEY: VALUE lines, such as stain: PAS")
    return content
