"""Scores what ``mhkd detect`` wrote, writes the report, and records the threshold that is chosen."""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...annotations import ClassMap, find_annotations
from ...annotations.folders import Unused, annotations_in, lines, unused
from ...errors import InputError
from ...evaluation.best_threshold import Choice
from ...evaluation.bootstrap import Groups
from ...evaluation.threshold_file import record_threshold, weights_of
from ...files import sha256, write_json, write_text
from ...packed_student import is_packed
from ...slides.file_names import slide_name
from ...tiling.splits import patients_by_pattern, read_split_table
from ..differences import differences
from ..finished import FinishedSlide, find_finished
from .report import FILES, markdown, slides_csv
from .scored_slide import ScoredSlide, coco_of, load_slides
from .slide_scores import score_slides

AP_SCORE = 0.05  # AP is the area under a curve that needs low scores too; Detectron2's default


@dataclass(frozen=True, eq=False)
class Scoring:
    """What was scored.

    Attributes:
        report: content of scores.json.
        text: content of scores.md.
        slides: those that were scored.
        choice: the threshold with the highest F1; None where no detection is right.
        student_folder: of the student whose threshold is to be chosen.
    """

    report: dict[str, Any]
    text: str
    slides: list[ScoredSlide]
    choice: Choice | None
    student_folder: str | None

    def choose_threshold(self) -> str:
        """Record the choice in the student's folder, for ``mhkd detect``; says so.

        Raises:
            InputError: no detection is right.
        """
        assert self.student_folder is not None
        return _choose(self.student_folder, self.choice, [one.name for one in self.slides])


def run_score(
    out_dir: Path, annotations: str, out: Path,
    *, slides: str | None, pairs: Sequence[str], class_map: str | None, one_class: bool,
    patient_csv: str | None, patient_pattern: str | None, score_threshold: float | None,
    bootstrap: int, seed: int, choose_threshold: bool, student: str | None, within: Sequence[str] = (),
) -> Scoring:  # fmt: skip
    """The command but for its sheets: see its options. What it writes is in ``out`` when it returns.

    Raises:
        InputError: nothing can be scored, or a threshold is to be chosen and cannot be; see also
            :func:`mhkd.slide_detection.scores.scored_slide.load_slides`.
    """
    finished, unfinished, damaged = find_finished(out_dir)
    lowest = max(one.keep_from_score for one in finished)
    score_threshold = _threshold(score_threshold, finished, lowest)
    folder = _student_folder(finished, student) if choose_threshold else None
    if bootstrap < 0:
        raise InputError(f"--bootstrap {bootstrap}: must be 0 or more")
    mapping = ClassMap.parse(pairs, class_map)
    readers = logging.getLogger("mhkd.annotations")
    level = readers.level
    readers.setLevel(logging.ERROR)  # what they warn of is in the report
    try:
        scored, unannotated, failed = load_slides(
            finished, annotations, mapping, slides, one_class, lowest, damaged, within
        )
    finally:
        readers.setLevel(level)
    left = _unused_annotations(finished, damaged, scored, annotations)
    failed = {**failed, **{u.path: u.reason for u in left if u.is_fault}}
    patients, unit = _patients([one.name for one in scored], patient_csv, patient_pattern)
    scores = score_slides(
        scored, patients, score_threshold=score_threshold, lowest=lowest, num_samples=bootstrap, seed=seed
    )
    choice = scores.pop("choice")
    warnings = differences([one for one in finished if one.name in {s.name for s in scored}])
    warnings += _warnings(scored, unfinished, lowest, patients, unit, bootstrap)
    if patient_pattern and unit == "patients" and len(set(patients)) == 1 < len(scored):
        warnings.append(
            f"--patient-pattern {patient_pattern!r} makes all {len(scored)} slides those of one patient, "
            f"{patients[0]}: correct it if they are not"
        )
    report = {
        "num_slides": len(scored),
        "num_patients": len(set(patients)),
        "unit": unit,
        "classes": list(scored[0].found.class_names),
        "score_threshold": score_threshold,
        "detections_from_score": lowest,
        "bootstrap_samples": bootstrap,
        **scores,
        "choice": choice and asdict(choice),
        "without_annotations": unannotated,
        "failed": failed,
        "warnings": warnings + lines(u for u in left if not u.is_fault),
    }
    text = markdown(report)
    contents = slides_csv(report["slides"])
    write_json(report, out / FILES[0])
    write_text(text, out / FILES[1])
    write_text(contents, out / FILES[2])
    if not one_class:  # whose category ids are not those of the results
        write_json(coco_of(scored)[0], out / FILES[3], indent=None)
    return Scoring(report, text, scored, choice, folder)


def _threshold(given: float | None, finished: Sequence[FinishedSlide], lowest: float) -> float:
    """What is counted: as the user says, or as ``mhkd detect`` did."""
    if given is None:
        return max(lowest, *(one.score_threshold for one in finished))
    if not 0 <= given <= 1:
        raise InputError(f"--score-threshold {given}: must be between 0 and 1")
    if given < lowest:
        name = next(one.name for one in finished if one.keep_from_score == lowest)
        raise InputError(
            f"--score-threshold {given:g}: the results of {name} hold only scores of {lowest:g} or more: "
            f"give no less, or run mhkd detect with --keep-from-score {given:g} first"
        )
    return given


def _student_folder(finished: Sequence[FinishedSlide], given: str | None) -> str:
    """Where the student is whose threshold is to be chosen."""
    students = {one.student for one in finished}
    if len(students) > 1:
        raise InputError(f"--choose-threshold: {'; '.join(differences(finished))}: choose for one at a time")
    recorded = finished[0].run.get("student")
    folder = given or (recorded.get("folder") if isinstance(recorded, dict) else None)
    if folder and is_packed(folder):
        raise InputError(
            f"--choose-threshold: {folder} is packed, and stays as it is: say where the student's folder (or "
            ".onnx file) is with --student, and pack it again"
        )
    if not folder or not os.path.isfile(weights_of(folder)):
        raise InputError(
            f"--choose-threshold: the student is not at {folder or 'any known place'}: say where it is with "
            "--student"
        )
    (student,) = students
    if student and not sha256(weights_of(folder)).startswith(student):
        raise InputError(
            f"{folder}: is not the student that these results are of: say where that is with --student"
        )
    return folder


def _choose(folder: str, choice: Choice | None, names: Sequence[str]) -> str:
    if choice is None:
        raise InputError("--choose-threshold: no detection is right, so there is no threshold with an F1")
    slides = ", ".join(names) if len(names) < 4 else f"{len(names)} slides, {names[0]} among them"
    path = record_threshold(folder, choice, slides)
    return (
        f"\nChosen: a score of {choice.score_threshold:g} or more (F1 {choice.f1:.1f} on {slides}), recorded "
        f"in {path}. mhkd detect counts from it: give the same command again, and finished slides are "
        "counted anew. Take figures from other slides than these.\n"
    )


def _unused_annotations(
    finished: Iterable[FinishedSlide], damaged: Iterable[str], scored: Iterable[ScoredSlide], annotations: str
) -> list[Unused]:
    """What is in the folder of annotations and belongs to no slide, or cannot be read."""
    files = {one.slide.path: find_annotations(one.slide.path, annotations) for one in scored}
    names = {one.name for one in scored}
    slides = [*files, *(one.run["slide_file"] for one in finished if one.name not in names), *damaged]
    return unused(annotations_in(annotations), slides, files)


def _patients(names: list[str], table: str | None, pattern: str | None) -> tuple[list[str], str]:
    """The patient of each slide, and what they are in the report."""
    if table and pattern:
        raise InputError("--patient-csv and --patient-pattern exclude each other: use one")
    known: dict[str, str] = {}
    if table:
        known, _ = read_split_table(table, names)
        if not known:
            raise InputError(f"{table}: has no column patient: add it")
    elif pattern:
        known = patients_by_pattern(names, pattern)
    return [known.get(name, slide_name(name)) for name in names], "patients" if known else "slides"


def _warnings(
    scored: Sequence[ScoredSlide], unfinished: Iterable[str], lowest: float,
    patients: Sequence[str], unit: str, bootstrap: int,
) -> list[str]:  # fmt: skip
    lines = [f"{name}: was begun and is not finished, so it is not scored" for name in unfinished]
    if lowest > AP_SCORE:
        lines.append(
            f"AP, AR and FROC count only detections with a score of {lowest:g} or more: detect with "
            f"--keep-from-score {AP_SCORE:g} to score them in full"
        )
    remark = Groups(patients, unit).remark()
    if bootstrap and remark and len(set(patients)) > 1:
        lines.append(remark)
    names = scored[0].found.class_names
    annotated = {c for one in scored for c in one.classes[~one.ignored]}
    missing = [name for k, name in enumerate(names) if k not in annotated]
    if missing:
        lines.append(f"no annotated object is {' or '.join(missing)}: detections of it are false positives")
    lines += [one.doubt for one in scored if one.doubt]
    for one in scored:
        lines += [f"{one.name}: {n} {what}" for what, n in sorted(one.counts.items())]
    return lines
