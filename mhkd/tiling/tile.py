"""``mhkd tile``: many slides to a dataset, in processes; one slide is one task.

A run that was stopped, or is done again with other slides, goes on from what finished tasks left in
``<out>/.tile`` (:mod:`mhkd.tiling.slide_task`). The dataset itself appears at the end
(:mod:`mhkd.tiling.publish`).
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from typing import Any

from tqdm import tqdm

from ..annotations import ClassMap
from ..annotations.folders import Unused, find_slides, look_into, unused
from ..annotations.folders import lines as lines_of
from ..errors import InputError
from ..files import LOCK, locked, make_folder, writing_to
from ..slides.file_names import slide_name
from ..slides.slide_table import by_slide, read_rows
from ..system import relative_path
from ..terminal import say
from .collect import check_names
from .cut import Cut, write_cut
from .cut_coco import coco_files, cut_coco
from .layout import Layout
from .publish import publish
from .slide_task import TileOptions, tile_slide
from .splits import DEFAULT_SHARES, assign_splits

WORK = ".tile"
Job = tuple[str, str, TileOptions, bool]  # of :func:`mhkd.tiling.slide_task.tile_slide`


def tile_slides(
    slides: Sequence[str],
    out: str,
    options: TileOptions,
    splits_of: Callable[[list[str]], tuple[dict[str, str], dict[str, list[str]]]],
    *,
    workers: int = 1,
    strict: bool = False,
    command: Sequence[str] = (),
    also_used: Sequence[str | None] = (),
) -> dict[str, Any]:
    """Make a dataset of slides.

    Args:
        slides: slide files, and folders of them.
        out: ``<datasets>/<name>``; its splits are then the datasets ``<name>_<split>``.
        options: how.
        splits_of: slides -> (their patients, the slides of each split), see
            :func:`mhkd.tiling.splits.assign_splits`.
        workers: processes. With more than one a script needs the usual
            ``if __name__ == "__main__"`` guard.
        strict: stop at a slide that cannot be used, instead of leaving it out.
        command: for the manifest.
        also_used: files that may lie in the folders and are used for something else.

    Returns:
        The content of ``<out>/manifest.json``; "skipped" are the slides left out and why, "not_used"
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
    jobs = [(path, work, options.of_slide(path), len(used) == 1) for path in used]
    make_folder(work)
    busy = f"{out}: another mhkd tile is writing there: wait for it, or choose another --out"
    with locked(work, busy):
        parts, skipped = _parts_of(jobs, workers, strict)
        of_slides = {s: part["annotation_file"] for s, part in parts.items()} if options.annotated else None
        left = unused(others, slides, of_slides, (options.annotations, out, *also_used))
        more = [{"slide_file": u.path, "error": str(u)} for u in left if u.is_slide and u.is_fault]
        with writing_to(work):
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
                labelled=isinstance(options.layout, Cut),
            )
            _keep_only(work, {os.path.basename(part["part_file"]) for part in parts.values()} | {LOCK})
    return manifest


def _parts_of(
    jobs: Sequence[Job], workers: int, strict: bool
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The parts by slide, and what could not be used."""
    parts, skipped = {}, {}
    with closing(_run(jobs, workers)) as run:
        for part in run:
            if "error" not in part:
                parts[part["slide_file"]] = part
            elif strict:
                raise InputError(f"{part['error']} (without --strict the slide is left out)")
            else:
                skipped[part["slide_file"]] = part
    return parts, skipped


def _keep_only(folder: str, names: Collection[str]) -> None:
    for name in set(os.listdir(folder)).difference(names):
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.remove(path)


def run_tile(
    slides: Sequence[str], out: str, pairs: Sequence[str], class_map: str | None, classes: str | None,
    workers: int, strict: bool,
    *, split: str | None, folds: int | None, split_csv: str | None, patient_pattern: str | None, seed: int,
    annotations: str | None, no_annotations: bool,
    slide_mpp: float | dict[str, float] | None, override_slide_mpp: float | dict[str, float] | None,
    point_diameter_um: float | None, tiles: str, lr_filter: str, verify: bool, keep_empty: float | None,
    cut: Cut | None = None, labels: str | None = None, within: Sequence[str] = (),
    **layout: Any,
) -> bool:  # fmt: skip
    """The command: see its options.

    Args:
        cut: instead of ``layout``, for images with a class each.
        labels: table of the slides' classes, for those.

    Returns:
        Whether every slide and annotation file could be used.
    """
    mode = cut.mode if cut else layout["mode"]
    if no_annotations:
        of_annotations = {
            "--annotations": annotations, "--mode centred": mode == "centred", "--class": pairs,
            "--class-map": class_map, "--classes": classes, "--point-diameter-um": point_diameter_um,
            "--within": within,
        }  # fmt: skip
        if found := [option for option, value in of_annotations.items() if value]:
            raise InputError(
                f"--no-annotations: {', '.join(found)} can only be used with annotations: leave out one or "
                f"the other; without annotations the mode is {'section' if cut else 'grid'} or whole"
            )
    names = None if classes is None else [c.strip() for c in classes.split(",")]
    names_map = ClassMap.parse(pairs, class_map, names)
    if cut and (json_files := coco_files(slides)):
        _refuse_with_coco(
            split=split, folds=folds, split_csv=split_csv, patient_pattern=patient_pattern, labels=labels,
            annotations=annotations, no_annotations=no_annotations, slide_mpp=slide_mpp,
            override_slide_mpp=override_slide_mpp, point_diameter_um=point_diameter_um,
        )  # fmt: skip
        lines = cut_coco(json_files, out, cut, names_map)
        write_cut(cut, out)
        say("\n".join(lines))
        return True
    if keep_empty is None:
        keep_empty = 0.0 if mode == "centred" else 1.0
    of_slides = None if labels is None else read_classes(labels)
    options = TileOptions(
        cut or Layout(keep_empty=keep_empty, **layout),
        names_map,
        annotations,
        slide_mpp,
        point_diameter_um,
        tiles,
        lr_filter,
        verify,
        # A table says all that is asked of sections and whole slides.
        annotated=not (no_annotations or (of_slides is not None and mode != "centred")),
        override_slide_mpp=override_slide_mpp,
        labels=of_slides,
        within=tuple(within),
    )
    splits_of = partial(
        assign_splits, shares=split, folds=folds, table=split_csv, pattern=patient_pattern, seed=seed,
        default="train=1" if no_annotations else DEFAULT_SHARES,
    )  # fmt: skip
    manifest = tile_slides(
        slides, out, options, splits_of, workers=workers, strict=strict, command=sys.argv,
        also_used=(split_csv, class_map, labels),
    )  # fmt: skip
    if cut:
        write_cut(cut, out)
    say(summary(manifest, out))
    return is_complete(manifest)


def _refuse_with_coco(**options: Any) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if given:
        raise InputError(
            f"{', '.join(given)}: of slides; a COCO dataset has its own splits, patients and resolution"
        )


def read_classes(path: str) -> dict[str, str]:
    """The class of each slide, from a CSV file with the columns slide and class.

    Raises:
        InputError: no such table, a slide without a class or with two, or classes that differ only in case.
    """
    table = read_rows(path, "classes", lambda columns: "class" in columns)
    if table is None:
        raise InputError(f"{path}: needs the columns slide and class, in its first line")
    rows = by_slide(path, [{k: row[k] for k in ("slide", "class")} for row in table])
    for name, row in rows.items():
        if not row["class"]:
            raise InputError(f"{path}: the slide {name} has no class: fill it in, or remove the row")
    return {name: row["class"] for name, row in rows.items()}


def summary(manifest: Mapping[str, Any], out: str) -> str:
    """What has become of the slides, for the terminal."""
    name, lines = os.path.basename(os.path.abspath(out)), []
    for split, report in manifest["splits"].items():
        line = f"{name}_{split}: {report['slides']} slides, {report['tiles']} tiles"
        objects = ", ".join(f"{n} {c}" for c, n in report["objects"].items())
        if "empty_tiles" not in report:
            line = f"{name}_{split}: {report['slides']} slides, {report['tiles']} images; {objects}"
        elif manifest["categories"]:
            line += f" ({report['empty_tiles']} empty); {objects}, {report['ignored']} cut and ignored"
        lines.append(line)
    lines += [f"warning: {w}" for w in manifest["warnings"]]
    lines += [f"skipped: {s['error']}" for s in manifest["skipped"]]
    here = [
        {**u, "path": relative_path(os.path.join(out, u["path"]), os.curdir)} for u in manifest["not_used"]
    ]
    left = [Unused(**u) for u in here]
    return "\n".join(lines + lines_of(u for u in left if not (u.is_slide and u.is_fault)))


def is_complete(manifest: Mapping[str, Any]) -> bool:
    """Whether every slide and annotation file could be used."""
    return not manifest["skipped"] and not any(u["is_fault"] for u in manifest["not_used"])


def _run(jobs: Sequence[Job], workers: int) -> Generator[dict[str, Any], None, None]:
    """Yields each task's result as it comes."""
    with tqdm(total=len(jobs), desc="slides", unit="slide") as bar:
        if workers == 1 or len(jobs) < 2:
            for job in jobs:
                yield tile_slide(*job)
                bar.update()
            return
        # Not fork: libvips keeps threads, which a forked child would lack.
        pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn"))
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
