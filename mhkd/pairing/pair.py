"""``mhkd pair``: slides that were scanned twice to a dataset of real pairs.

A run that was stopped, or is done again with more slides, goes on from what is in ``<out>/.pair``. The
dataset itself appears at the end (:mod:`mhkd.tiling.publish`), and then ``pairs.csv``.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from ..annotations.folders import find_slides
from ..errors import InputError
from ..files import WriteError, make_folder, write_text
from ..slides.file_names import slide_name
from ..slides.slide_table import mpp_of
from ..tables import csv_text
from ..tiling.publish import publish
from .pair_tiles import PairOptions, pair_slides

WORK = ".pair"
TABLE = "pairs.csv"
COLUMNS = ("slide", "hr_slide", "x_px", "y_px", "file_name", "error_um", "squares", "left_out")
Mpps = float | dict[str, float] | None


def pairs_of(hr: str, lr: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The pairs of two slides, or of two folders by their names.

    Returns:
        HR and LR files; and what has no partner, in words.

    Raises:
        InputError: one is a folder and the other is none, or no two have the same name.
    """
    (of_hr, _), (of_lr, _) = find_slides([hr]), find_slides([lr])
    if [hr] == of_hr and [lr] == of_lr:
        return [(hr, lr)], []
    by_name = {slide_name(p): p for p in of_hr}
    pairs = [(by_name[slide_name(p)], p) for p in of_lr if slide_name(p) in by_name]
    if not pairs:
        raise InputError(
            f"{lr}: no slide is named like one of {hr}: name both scans of a slide alike (case_01.svs, "
            "case_01.tiff), or give two files"
        )
    used = {p for pair in pairs for p in pair}
    return pairs, [f"{p}: has no second scan of its name" for p in (*of_hr, *of_lr) if p not in used]


def make_pairs(
    pairs: Sequence[tuple[str, str]],
    out: str,
    options: PairOptions,
    splits_of: Callable[[list[str]], tuple[dict[str, str], dict[str, list[str]]]],
    *,
    mpps: dict[str, Mpps],
    strict: bool = False,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Make a dataset of pairs.

    Args:
        pairs: HR and LR files.
        out: ``<datasets>/<name>``; its splits are then the datasets ``<name>_<split>``.
        options: how.
        splits_of: LR slides -> (their patients, the slides of each split).
        mpps: resolutions that the user gives, of all slides or by file name, under the names that
            ``options`` has for them.
        strict: stop at a pair that cannot be used, instead of leaving it out.
        command: for the manifest.

    Returns:
        The content of ``<out>/manifest.json``; "skipped" are the pairs left out and why.

    Raises:
        InputError: nothing could be used, or a split would be empty, or strict.
    """
    started, work = time.time(), os.path.join(out, WORK)
    patients, splits = splits_of([lr for _, lr in pairs])
    make_folder(work)
    options = replace(options, only_pair=len(pairs) == 1)
    parts, skipped = [], []
    for hr, lr in tqdm(pairs, desc="pairs", unit="pair", disable=len(pairs) < 2):
        own: dict[str, Any] = {k: mpp_of(given, lr if "lr" in k else hr) for k, given in mpps.items()}
        try:
            parts.append(pair_slides(hr, lr, out, work, replace(options, **own)))
        except WriteError:
            raise
        except Exception as e:  # whatever is wrong with one pair, the others are not lost
            fault = str(e) if isinstance(e, InputError) else f"{lr}: {type(e).__name__}: {e}"
            if strict or len(pairs) == 1:
                raise InputError(fault) from e
            skipped.append({"slide_file": lr, "error": fault})
    factors = sorted({part["lr_factor"] for part in parts})
    if len(factors) > 1:
        raise InputError(
            f"{out}: the slides have {factors} HR pixels per LR pixel: choose one with --lr-factor"
        )
    scans = [
        {k: part[k] for k in ("hr_sha256", "lr_factor", "scale", "max_error_um")}
        | {"slide": slide_name(part["slide_file"]), "hr_slide": os.path.basename(part["hr_file"])}
        for part in parts
    ]
    manifest = publish(
        out, parts, skipped, [], splits, patients, {**options.parameters(), "pairs": scans},
        options.class_map.classes, {"command": list(command), "started": started},
    )  # fmt: skip
    rows = [
        (slide_name(part["slide_file"]), os.path.basename(part["hr_file"]), *(tile[c] for c in COLUMNS[2:]))
        for part in parts
        for tile in part["checked"]
    ]
    write_text(csv_text(COLUMNS, rows), os.path.join(out, TABLE))
    return manifest
