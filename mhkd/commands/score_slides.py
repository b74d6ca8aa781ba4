"""``mhkd score``: reads, scores, writes the report and the sheets."""

import logging
import os
from dataclasses import asdict

from PIL import Image
from tqdm import tqdm

from ..annotations import ClassMap
from ..annotations.folders import annotations_in, lines, unused
from ..errors import InputError
from ..evaluation.threshold_file import WEIGHTS, record_threshold
from ..files import fitting_name, replacing, sha256, write_json, write_text
from ..slide_detection.finished import differences, find_finished
from ..slide_detection.scores.report import FILES, markdown, slides_csv
from ..slide_detection.scores.scored_slide import coco_of, load_slides
from ..slide_detection.scores.slide_scores import score_slides
from ..slides.file_names import slide_name
from ..tiling.objects import annotation_file
from ..tiling.splits import patients_by_pattern, read_split_table
from ..visualization.error_sheet import draw_error_sheet

AP_SCORE = 0.05  # AP is the area under a curve that needs low scores too; Detectron2's default
FEW_PATIENTS = 10  # fewer make intervals too narrow

logger = logging.getLogger(__name__)


def run_score(
    out_dir, annotations, out,
    *, slides, pairs, class_map, one_class, patient_csv, patient_pattern,
    score_threshold, bootstrap, seed, sheets, choose_threshold, student,
):  # fmt: skip
    """The command: see its options.

    Returns:
        tuple[dict, str]: content of scores.json and of scores.md.

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
            finished, annotations, mapping, slides, one_class, lowest, damaged
        )
    finally:
        readers.setLevel(level)
    left = _unused_annotations(finished, damaged, scored, annotations)
    failed = {**failed, **{u.path: u.reason for u in left if u.is_fault}}
    patients, unit = _patients([one.name for one in scored], patient_csv, patient_pattern)
    scores = score_slides(scored, patients, score_threshold=score_threshold, num_samples=bootstrap, seed=seed)
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
    if sheets:
        for one in tqdm(scored, desc="sheets", unit="slide"):
            _write_sheet(one, out / "errors", score_threshold, sheets)
    if choose_threshold:
        text += _choose(folder, choice, [one.name for one in scored])
    return report, text


def _threshold(given, finished, lowest):
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


def _student_folder(finished, given):
    """Where the student is whose threshold is to be chosen."""
    students = {one.student for one in finished}
    if len(students) > 1:
        raise InputError(f"--choose-threshold: {'; '.join(differences(finished))}: choose for one at a time")
    recorded = finished[0].run.get("student")
    folder = given or (recorded.get("folder") if isinstance(recorded, dict) else None)
    if not folder or not os.path.isfile(os.path.join(folder, WEIGHTS)):
        raise InputError(
            f"--choose-threshold: the student is not at {folder or 'any known place'}: say where it is with "
            "--student"
        )
    (student,) = students
    if student and not sha256(os.path.join(folder, WEIGHTS)).startswith(student):
        raise InputError(
            f"{folder}: is not the student that these results are of: say where that is with --student"
        )
    return folder


def _choose(folder, choice, names):
    if choice is None:
        raise InputError("--choose-threshold: no detection is right, so there is no threshold with an F1")
    slides = ", ".join(names) if len(names) < 4 else f"{len(names)} slides, {names[0]} among them"
    path = record_threshold(folder, choice, slides)
    return (
        f"\nChosen: a score of {choice.score_threshold:g} or more (F1 {choice.f1:.1f} on {slides}), recorded "
        f"in {path}. mhkd detect counts from it: give the same command again, and finished slides are "
        "counted anew. Take figures from other slides than these.\n"
    )


def _unused_annotations(finished, damaged, scored, annotations):
    """What is in the folder of annotations and belongs to no slide, or cannot be read."""
    files = {one.slide.path: annotation_file(one.slide.path, annotations) for one in scored}
    names = {one.name for one in scored}
    slides = [*files, *(one.run["slide_file"] for one in finished if one.name not in names), *damaged]
    return unused(annotations_in(annotations), slides, files)


def _patients(names, table, pattern):
    """The patient of each slide, and what they are in the report."""
    if table and pattern:
        raise InputError("--patient-csv and --patient-pattern exclude each other: use one")
    known = {}
    if table:
        known, _ = read_split_table(table, names)
        if not known:
            raise InputError(f"{table}: has no column patient: add it")
    elif pattern:
        known = patients_by_pattern(names, pattern)
    return [known.get(name, slide_name(name)) for name in names], "patients" if known else "slides"


def _warnings(scored, unfinished, lowest, patients, unit, bootstrap):
    lines = [f"{name}: was begun and is not finished, so it is not scored" for name in unfinished]
    if lowest > AP_SCORE:
        lines.append(
            f"AP, AR and FROC count only detections with a score of {lowest:g} or more: detect with "
            f"--keep-from-score {AP_SCORE:g} to score them in full"
        )
    if bootstrap and 1 < len(set(patients)) < FEW_PATIENTS:
        lines.append(f"{len(set(patients))} {unit} are few: the true intervals are wider")
    names = scored[0].found.class_names
    annotated = {c for one in scored for c in one.classes[~one.ignored]}
    missing = [name for k, name in enumerate(names) if k not in annotated]
    if missing:
        lines.append(f"no annotated object is {' or '.join(missing)}: detections of it are false positives")
    lines += [one.doubt for one in scored if one.doubt]
    for one in scored:
        lines += [f"{one.name}: {n} {what}" for what, n in sorted(one.counts.items())]
    return lines


def _write_sheet(one, folder, score_threshold, limit):
    path = folder / fitting_name(one.name, ".png")
    try:
        sheet = draw_error_sheet(one, score_threshold, limit)
    except InputError as e:
        logger.warning("no sheet of its errors: %s", e)
        return
    if sheet is None:
        if os.path.exists(path):
            os.remove(path)  # of an earlier scoring
        return
    with replacing(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG", compress_level=1)  # a third of the time
