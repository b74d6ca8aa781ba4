"""Puts what was found on the slides together to a dataset that appears whole or not at all.

Files are written in the work folder and renamed into place: first the pictures, in folders whose
names no earlier dataset has, then the annotation files, then ``manifest.json``. So whatever
annotation file is there has its pictures, and a manifest stands for a complete dataset.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import openslide
import pyvips

from ..annotations.folders import Unused
from ..errors import InputError
from ..files import read_json, writing_to
from ..slides.file_names import slide_name
from ..system import relative_path
from ..version import __version__
from .collect import coco_records
from .labels import label_rows, labels_text

MANIFEST = "manifest.json"
_FILE, _FOLDER = (
    re.compile(r"(annotations_|labels_)[\w.-]+\.(json|csv)"),
    re.compile(r"images/[^/\\\0]*[^./\\\0]"),
)
_PACKAGES = ("numpy", "shapely", "Pillow", "large-image")


Part = dict[str, Any]  # see :func:`mhkd.tiling.slide_task.tile_slide`


def publish(
    out: str,
    parts: Sequence[Part],
    skipped: Sequence[dict[str, Any]],
    left: Sequence[Unused],
    splits: Mapping[str, Sequence[str]],
    patients: Mapping[str, str],
    parameters: dict[str, Any],
    classes: Sequence[str] | None,
    run: Mapping[str, Any],
    labelled: bool = False,
) -> dict[str, Any]:
    """Write the dataset.

    Args:
        out: its folder.
        parts, skipped: of the slides that could and could not be used, from
            :func:`mhkd.tiling.slide_task.tile_slide`, in the order of the dataset.
        left: what else is in the folders, for the manifest.
        splits: slide files of each split.
        patients: slide file -> patient.
        parameters: for the manifest.
        classes: of the dataset; None: those that were found, sorted.
        run: for the manifest: what differs from run to run.
        labelled: the tiles are images with a class each.

    Returns:
        The manifest.

    Raises:
        InputError: a split would be without tiles, or a dataset of annotated slides without an object; or
            the disk is full.
    """
    reasons = "".join(f"; {s['error']}" for s in skipped)
    if not any(part["annotated"] or part["annotation_file"] is None for part in parts):
        counts: Counter[str] = sum((Counter(p["counts"]) for p in parts), Counter())
        reasons += "".join(f"; {n} {what}" for what, n in sorted(counts.items()))
        what = "slide with annotated objects" if parts else "slide"
        raise InputError(f"{out}: no {what} could be used{reasons}")
    if classes is None:
        classes = sorted({name for part in parts for name in part["annotated"]})
    category_ids = {c: k + 1 for k, c in enumerate(classes)}
    work = os.path.dirname(parts[0]["part_file"])
    json_files: dict[str, str] = {}
    reports: dict[str, dict[str, Any]] = {}
    for split, slides in splits.items():
        chosen = [part for part in parts if part["slide_file"] in slides]
        name = f"labels_{split}.csv" if labelled else f"annotations_{split}.json"
        json_files[name] = os.path.join(work, name)
        read = _reader(chosen, out, patients)
        with writing_to(json_files[name]):
            write = _write_labels if labelled else _write_split
            reports[split] = write(json_files[name], read, category_ids)
        if reports[split]["tiles"] == 0:
            reasons += "".join(f"; {warning}" for warning in _warnings(chosen, {}))
            raise InputError(f"{out}: the split {split} has no tiles{reasons}")
    folders = sorted({part["folder"] for part in parts if part["folder"]})
    manifest = {
        "versions": _versions(),
        "parameters": parameters,
        "categories": [{"id": i, "name": c} for c, i in category_ids.items()],
        "splits": reports,
        "warnings": _warnings(parts, reports),
        "skipped": [{**s, "slide_file": _relative(s["slide_file"], out)} for s in skipped],
        "not_used": [{**asdict(u), "path": _relative(u.path, out)} for u in left],
        "slides": [_slide_report(part, out, patients, splits) for part in parts],
        "files": sorted(json_files),
        "folders": [f"images/{f}" for f in folders],
        "run": {
            "command": run["command"],
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run["started"])),
            "seconds": round(time.time() - run["started"], 1),
        },
    }
    manifest_file = os.path.join(work, MANIFEST)
    with writing_to(out):
        with open(manifest_file, "w", encoding="utf-8") as f:
            f.write(json.dumps(manifest, indent=1) + "\n")
        _rename_into_place(out, work, folders, json_files, manifest_file)
    return manifest


def _reader(
    parts: Sequence[Part], out: str, patients: Mapping[str, str]
) -> Callable[[], Iterator[dict[str, Any]]]:
    """A function that goes over the parts with their tiles, one in memory at a time."""

    def read() -> Iterator[dict[str, Any]]:
        for part in parts:
            tiles = read_json(part["part_file"], dict, "remove it")["tiles"]
            yield {
                "slide_file": _relative(part["slide_file"], out),
                "slide_mpp": part["slide_mpp"],
                "patient": patients.get(part["slide_file"]),
                "tiles": tiles,
            }

    return read


def _write_split(
    json_file: str, read: Callable[[], Iterator[dict[str, Any]]], category_ids: Mapping[str, int]
) -> dict[str, Any]:
    """Stream a COCO file; returns its counts."""
    names = {i: c for c, i in category_ids.items()}
    objects = Counter({c: 0 for c in category_ids})
    tiles = empty = ignored = 0
    slides, patients = set(), set()
    with open(json_file, "w", encoding="utf-8") as f:
        f.write('{"images": [')
        for image, found in coco_records(read(), category_ids):
            f.write((", " if tiles else "") + json.dumps(image))
            tiles += 1
            empty += all("outside_field" in a for a in found)
            slides.add(image["slide"])
            patients.add(image.get("patient"))
        f.write('], "annotations": [')
        first = True
        for _, found in coco_records(read(), category_ids):
            for annotation in found:
                f.write(("" if first else ", ") + json.dumps(annotation))
                first = False
                ignored += annotation["iscrowd"] and "outside_field" not in annotation
                objects[names[annotation["category_id"]]] += 1 - annotation["iscrowd"]
        categories = [{"id": i, "name": c} for i, c in names.items()]
        f.write(f'], "categories": {json.dumps(categories)}}}')
    return {
        "slides": len(slides),
        "patients": len(patients - {None}),
        "tiles": tiles,
        "empty_tiles": empty,
        "objects": dict(objects),
        "ignored": ignored,
    }


def _write_labels(
    csv_file: str, read: Callable[[], Iterator[dict[str, Any]]], category_ids: Mapping[str, int]
) -> dict[str, Any]:
    """Write a table of images with a class each; returns its counts."""
    rows: list[dict[str, Any]] = []
    for part in read():
        of_slide = part["slide_file"], slide_name(part["slide_file"]), part["patient"], part["slide_mpp"]
        rows += label_rows(part["tiles"], *of_slide)
    with open(csv_file, "w", encoding="utf-8", newline="") as f:
        f.write(labels_text(rows))
    return {
        "slides": len({row["slide"] for row in rows}),
        "patients": len({row["patient"] for row in rows} - {None}),
        "tiles": len(rows),
        "objects": {c: sum(row["class"] == c for row in rows) for c in category_ids},
    }


def _slide_report(
    part: Part, out: str, patients: Mapping[str, str], splits: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    return {
        "slide_file": _relative(part["slide_file"], out),
        "sha256": part["sha256"],
        "size_px": part["size_px"],
        "mpp": part["mpp"],
        "annotation_file": part["annotation_file"] and _relative(part["annotation_file"], out),
        "annotation_sha256": part["annotation_sha256"],
        "annotation_format": part["format"],
        "patient": patients.get(part["slide_file"]),
        "splits": [s for s, slides in splits.items() if part["slide_file"] in slides],
        "annotated": part["annotated"],
        "counts": part["counts"],
    }


def _warnings(parts: Sequence[Part], reports: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a user should know, one line each."""
    lines: list[str] = []
    for part in parts:
        slide = os.path.basename(part["slide_file"])
        # what is said of the slide itself has no number
        lines += [f"{slide}: {n} {what}" if n else f"{slide}: {what}" for what, n in part["counts"].items()]
    same: dict[str, Part] = {}
    for part in parts:
        other = same.setdefault(part["sha256"], part)
        if other is not part:
            lines.append(f"{part['slide_file']}: has the same content as {other['slide_file']}")
    for split, report in reports.items():
        absent = [c for c, n in report["objects"].items() if n == 0]
        if absent:
            lines.append(f"the split {split} has no {' and no '.join(absent)}")
    return lines


def _rename_into_place(
    out: str, work: str, folders: Sequence[str], json_files: Mapping[str, str], manifest_file: str
) -> None:
    before = _manifest_of(out)
    place = os.path.join(out, "images")
    if folders:
        os.makedirs(place, exist_ok=True)
    for folder in folders:
        target = os.path.join(place, folder)
        if not os.path.isdir(os.path.join(work, folder)):
            continue  # moved by a run that was stopped right then
        if os.path.isdir(target):  # of the same content, or it was damaged
            os.replace(target, os.path.join(work, f"{folder}.old"))
        os.replace(os.path.join(work, folder), target)
    for name, path in json_files.items():
        os.replace(path, os.path.join(out, name))
    for name in _named(before, "files", _FILE) - set(json_files):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.remove(os.path.join(out, name))
    os.replace(manifest_file, os.path.join(out, MANIFEST))
    for old in _named(before, "folders", _FOLDER) - {f"images/{f}" for f in folders}:
        shutil.rmtree(os.path.join(out, old), ignore_errors=True)


def _manifest_of(out: str) -> dict[str, Any]:
    """Of an earlier dataset in the same folder; empty if there is none that is ours."""
    try:
        found = read_json(os.path.join(out, MANIFEST), dict, "")
    except InputError:
        return {}
    return found if "versions" in found else {}


def _named(manifest: Mapping[str, Any], key: str, name: re.Pattern[str]) -> set[str]:
    """Names in a list of a manifest, which is anyone's: only such as a dataset's own are taken for that."""
    found = manifest.get(key)
    texts = [n for n in found if isinstance(n, str)] if isinstance(found, list) else []
    return {n for n in texts if name.fullmatch(n)}


def _relative(path: str, out: str) -> str:
    return relative_path(os.path.abspath(path), os.path.realpath(out))


def _versions() -> dict[str, str]:
    found = {"mhkd": __version__, "python": platform.python_version()}
    found.update({package: importlib.metadata.version(package) for package in _PACKAGES})
    found["openslide"] = openslide.__library_version__
    found["libvips"] = ".".join(str(pyvips.version(k)) for k in range(3))
    found["platform"] = sys.platform
    return found
