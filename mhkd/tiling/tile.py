"""``mhkd tile``: many slides to a dataset, in processes; one slide is one task.

A run that was stopped, or is done again with other slides, goes on from what finished tasks left in
``<out>/.tile`` (:mod:`mhkd.tiling.slide_task`). The dataset itself appears at the end
(:mod:`mhkd.tiling.publish`).
"""

import os
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from multiprocessing import get_context

import cv2
from tqdm import tqdm

from ..annotations import ClassMap
from ..annotations.folders import Unused, find_slides, look_into, unused
from ..annotations.folders import lines as lines_of
from ..errors import InputError
from ..slides.file_names import slide_name
from .collect import check_names
from .layout import Layout
from .publish import publish
from .slide_task import TileOptions, tile_slide
from .splits import DEFAULT_SHARES, assign_splits

WORK = ".tile"


def tile_slides(slides, out, options, splits_of, *, workers=1, strict=False, command=(), also_used=()):
    """Make a dataset of slides.

    Args:
        slides (list[str]): slide files, and folders of them.
        out (str): ``<datasets>/<name>``; its splits are then the datasets ``<name>_<split>``.
        options (TileOptions): how.
        splits_of (callable): slides -> (their patients, the slides of each split), see
            :func:`mhkd.tiling.splits.assign_splits`.
        workers (int): processes. With more than one a script needs the usual
            ``if __name__ == "__main__"`` guard.
        strict (bool): stop at a slide that cannot be used, instead of leaving it out.
        command (sequence[str]): for the manifest.
        also_used (sequence[str]): files that may lie in the folders and are used for something else.

    Returns:
        dict: the content of ``<out>/manifest.json``; "skipped" are the slides left out and why, "not_used"
        whatever else is in the folders of slides and annotations, and why.

    Raises:
        InputError: a parameter makes no sense, nothing is left of a split, or strict. Nothing has
            been written then but the work folder, from which the next run goes on.
    """
    started = time.time()
    if workers < 1:
        raise InputError(f"--workers {workers}: at least 1")
    slides, others = find_slides(slides)
    if options.annotations and os.path.isdir(options.annotations):
        others += look_into(options.annotations)
    faults = [u for u in unused(others, slides, {}) if u.is_fault]
    if strict and faults:
        raise InputError(f"{faults[0]} (without --strict it is left out)")
    check_names(slides)
    patients, splits = splits_of(slides)
    used = sorted({s for found in splits.values() for s in found}, key=slide_name)
    work = os.path.join(out, WORK)
    os.makedirs(work, exist_ok=True)
    parts, skipped = {}, {}
    jobs = [(path, work, options.of_slide(path), len(used) == 1) for path in used]
    with closing(_run(jobs, workers)) as run:
        for part in run:
            if "error" not in part:
                parts[part["slide_file"]] = part
            elif strict:
                raise InputError(f"{part['error']} (without --strict the slide is left out)")
            else:
                skipped[part["slide_file"]] = part
    annotations = {s: part["annotation_file"] for s, part in parts.items()} if options.annotated else None
    left = unused(others, slides, annotations, (options.annotations, out, *also_used))
    more = [{"slide_file": u.path, "error": str(u)} for u in left if u.is_slide and u.is_fault]
    manifest = publish(
        out,
        [parts[s] for s in used if s in parts],
        [skipped[s] for s in used if s in skipped] + more,
        left,
        splits,
        patients,
        options.parameters(),
        options.class_map.classes,
        {"command": list(command), "started": started},
    )
    _keep_only(work, {os.path.basename(part["part_file"]) for part in parts.values()})
    return manifest


def _keep_only(folder, names):
    for name in set(os.listdir(folder)) - names:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.remove(path)


def run_tile(
    slides, out, pairs, class_map, classes, workers, strict,
    *, split, folds, split_csv, patient_pattern, seed,
    annotations, no_annotations, slide_mpp, override_slide_mpp, point_diameter_um, tiles, lr_filter, verify,
    keep_empty, **layout
):  # fmt: skip
    """The command: see its options.

    Returns:
        dict: see :func:`tile_slides`.
    """
    if no_annotations:
        of_annotations = {
            "--annotations": annotations, "--mode centred": layout["mode"] == "centred", "--class": pairs,
            "--class-map": class_map, "--classes": classes, "--point-diameter-um": point_diameter_um,
        }  # fmt: skip
        if found := [option for option, value in of_annotations.items() if value]:
            raise InputError(
                f"--no-annotations: {', '.join(found)} can only be used with annotations: leave out one or "
                "the other; without annotations the mode is grid or whole"
            )
    if keep_empty is None:
        keep_empty = 0.0 if layout["mode"] == "centred" else 1.0
    classes = None if classes is None else [c.strip() for c in classes.split(",")]
    options = TileOptions(
        Layout(keep_empty=keep_empty, **layout),
        ClassMap.parse(pairs, class_map, classes),
        annotations,
        slide_mpp,
        point_diameter_um,
        tiles,
        lr_filter,
        verify,
        annotated=not no_annotations,
        override_slide_mpp=override_slide_mpp,
    )
    by = {"shares": split, "folds": folds, "table": split_csv, "pattern": patient_pattern}
    default = "train=1" if no_annotations else DEFAULT_SHARES
    splits_of = partial(assign_splits, **by, seed=seed, default=default)
    manifest = tile_slides(
        slides, out, options, splits_of, workers=workers, strict=strict, command=sys.argv,
        also_used=(split_csv, class_map),
    )  # fmt: skip
    print(summary(manifest, out))
    return manifest


def summary(manifest, out):
    """str: what has become of the slides, for the terminal."""
    name, lines = os.path.basename(os.path.abspath(out)), []
    for split, report in manifest["splits"].items():
        line = f"{name}_{split}: {report['slides']} slides, {report['tiles']} tiles"
        if manifest["categories"]:
            objects = ", ".join(f"{n} {c}" for c, n in report["objects"].items())
            line += f" ({report['empty_tiles']} empty); {objects}, {report['ignored']} cut and ignored"
        lines.append(line)
    lines += [f"warning: {w}" for w in manifest["warnings"]]
    lines += [f"skipped: {s['error']}" for s in manifest["skipped"]]
    here = [{**u, "path": os.path.relpath(os.path.join(out, u["path"]))} for u in manifest["not_used"]]
    left = [Unused(**u) for u in here]
    return "\n".join(lines + lines_of(u for u in left if not (u.is_slide and u.is_fault)))


def is_complete(manifest):
    """bool: whether every slide and annotation file could be used."""
    return not manifest["skipped"] and not any(u["is_fault"] for u in manifest["not_used"])


def _run(jobs, workers):
    """Yields each task's result as it comes."""
    with tqdm(total=len(jobs), desc="slides", unit="slide") as bar:
        if workers == 1 or len(jobs) < 2:
            for job in jobs:
                yield tile_slide(*job)
                bar.update()
            return
        # Not fork: libvips and OpenCV keep threads, which a forked child would lack.
        pool = ProcessPoolExecutor(
            min(workers, len(jobs)), mp_context=get_context("spawn"), initializer=_one_thread
        )
        try:
            for future in as_completed([pool.submit(tile_slide, *job) for job in jobs]):
                yield future.result()
                bar.update()
        except BrokenProcessPool as e:
            raise InputError(
                "a worker process was killed, probably for want of memory: use fewer --workers; "
                "finished slides are kept"
            ) from e
        finally:
            pool.shutdown(cancel_futures=True)


def _one_thread():
    cv2.setNumThreads(1)
