"""``mhkd score``: reads, scores, writes the report and the sheets."""

import logging
import os

from mhkd.data.splits import patients_by_pattern, read_split_table, slide_name
from mhkd.errors import InputError
from mhkd.evaluation.slide_report import FILES, markdown, slides_csv
from mhkd.evaluation.slide_scores import score_slides
from mhkd.evaluation.slides import load_slides
from mhkd.files import replacing, write_json, write_text
from mhkd.visualization.error_sheet import draw_error_sheet
from mhkd.wsi.annotations import ClassMap
from mhkd.wsi.detection.finished import find_finished

from PIL import Image
from tqdm import tqdm

AP_SCORE = 0.05  # AP is the area under a curve that needs low scores too; Detectron2's default
FEW_PATIENTS = 10  # fewer make intervals too narrow

logger = logging.getLogger(__name__)


def run_score(
    out_dir, annotations, out,
    *, slides, pairs, class_map, one_class, patient_csv, patient_pattern,
    score_threshold, bootstrap, seed, sheets,
):  # fmt: skip
    """The command: see its options.

    Returns:
        tuple[dict, str]: content of scores.json and of scores.md.

    Raises:
        InputError: nothing can be scored; see also :func:`mhkd.evaluation.slides.load_slides`.
    """
    finished, unfinished = find_finished(out_dir)
    if not 0 <= score_threshold <= 1:
        raise InputError(f"--score-threshold {score_threshold}: must be between 0 and 1")
    if bootstrap < 0:
        raise InputError(f"--bootstrap {bootstrap}: must be 0 or more")
    mapping = ClassMap.parse(pairs, class_map)
    readers = logging.getLogger("mhkd.wsi.annotations")
    level = readers.level
    readers.setLevel(logging.ERROR)  # what they warn of is in the report
    try:
        scored, unannotated, failed = load_slides(finished, annotations, mapping, slides, one_class)
    finally:
        readers.setLevel(level)
    patients, unit = _patients([one.name for one in scored], patient_csv, patient_pattern)
    lowest = max(one.score_threshold for one in finished)
    score_threshold = max(score_threshold, lowest)
    report = {
        "num_slides": len(scored),
        "num_patients": len(set(patients)),
        "unit": unit,
        "classes": list(scored[0].found.class_names),
        "score_threshold": score_threshold,
        "detections_from_score": lowest,
        "bootstrap_samples": bootstrap,
        **score_slides(scored, patients, score_threshold=score_threshold, num_samples=bootstrap, seed=seed),
        "without_annotations": unannotated,
        "failed": failed,
        "warnings": _warnings(scored, unfinished, lowest, patients, unit, bootstrap),
    }
    text = markdown(report)
    contents = slides_csv(report["slides"])
    write_json(report, out / FILES[0])
    write_text(text, out / FILES[1])
    write_text(contents, out / FILES[2])
    if sheets:
        for one in tqdm(scored, desc="sheets", unit="slide"):
            _write_sheet(one, out / "errors", score_threshold, sheets)
    return report, text


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
            f"--score-threshold {AP_SCORE:g} to score them in full"
        )
    if bootstrap and 1 < len(set(patients)) < FEW_PATIENTS:
        lines.append(f"{len(set(patients))} {unit} are few: the true intervals are wider")
    names = scored[0].found.class_names
    annotated = {c for one in scored for c in one.classes[~one.ignored]}
    missing = [name for k, name in enumerate(names) if k not in annotated]
    if missing:
        lines.append(f"no annotated object is {' or '.join(missing)}: detections of it are false positives")
    for one in scored:
        lines += [f"{one.name}: {n} {what}" for what, n in sorted(one.counts.items())]
    return lines


def _write_sheet(one, folder, score_threshold, limit):
    path = folder / f"{one.name}.png"
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
