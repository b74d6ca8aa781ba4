"""What a training has logged: Detectron2's metrics.json, read for pictures."""

import json
import logging
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..files import as_text
from ..losses import LOSS_REGISTRY

logger = logging.getLogger(__name__)

MAX_ITERATIONS = 10**9
Rows = dict[int, dict[str, Any]]  # iteration -> what was logged at it

SCORE = re.compile(r"bbox/([^/]+/)?AP(?:50)?$")
# Those of features, then the detection losses of either network, which have names of their own.
LOSS_ORDER = ("total_loss", *(f"loss_{name}" for name, _ in LOSS_REGISTRY), "student/", "output/")


def read_metrics(path: str | os.PathLike[str]) -> Rows:
    """Read what Detectron2's JSONWriter wrote.

    A resumed run repeats iterations: the last value of each wins. Lines that were cut short when a run was
    killed are left out.

    Args:
        path: metrics.json, one JSON object a line.

    Returns:
        By iteration; every one has a "stage" (int) if any has.

    Raises:
        InputError: there is no such file, or nothing to plot in it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file. Training writes it to its OUTPUT_DIR")
    rows: Rows = {}
    unreadable = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = {as_text(k): v for k, v in json.loads(line).items() if _is_number(v)}
            if not 0 <= row["iteration"] < MAX_ITERATIONS:
                raise ValueError
            rows.setdefault(int(row["iteration"]), {}).update(row)
        except (ValueError, LookupError, AttributeError, RecursionError):
            unreadable += bool(line.strip())
    if unreadable:
        logger.warning("%s: left out %d unreadable line(s)", path, unreadable)
    if not rows:
        raise InputError(f"{path}: holds no metrics. Has the training written any yet?")
    rows = dict(sorted(rows.items()))
    stages = (row["stage"] for row in rows.values() if "stage" in row)
    stage = next((s for s in stages if math.isfinite(s)), None)
    for row in rows.values():
        stage = row["stage"] if math.isfinite(row.get("stage", math.nan)) else stage
        if stage is not None:
            row["stage"] = int(stage)
    return rows


def _is_number(value: Any) -> bool:
    """Of a loss also one that is not finite; not a whole number that no float holds."""
    return type(value) is float or (type(value) is int and abs(value) < MAX_ITERATIONS)


def align(runs: dict[str, Rows]) -> dict[str, Rows]:
    """Move runs right so that the students of all start where the latest of them does."""
    starts = {
        name: next((i for i, row in rows.items() if row.get("stage", 0) > 0), None)
        for name, rows in runs.items()
    }
    latest = max((start for start in starts.values() if start is not None), default=0)
    shifts = {name: 0 if start is None else latest - start for name, start in starts.items()}
    return {n: {i + shifts[n]: row for i, row in rows.items()} for n, rows in runs.items()}


def test_sets_of(rows: Rows) -> list[str]:
    """What comes before the metrics of each: "" where there is one test set, else "name/"."""
    found = (SCORE.match(key) for row in rows.values() for key in row)
    return list(dict.fromkeys(match[1] or "" for match in found if match))


def is_loss(key: str) -> bool:
    """Tell losses, those of a part of the network ("student/loss_cls") among them, from other values."""
    return key.split("/")[-1].startswith(("loss", "total_loss"))


def loss_rank(key: str) -> tuple[int, str]:
    """Where a loss comes: the total, those of features, then the detection losses of either network."""
    rank = next((k for k, start in enumerate(LOSS_ORDER) if key.startswith(start)), len(LOSS_ORDER))
    return rank, key


def running_median(values: npt.ArrayLike) -> np.ndarray:
    """Median over a centred window of a tenth of the values (5 to 51); shorter at the ends.

    Args:
        values: shape (N,). nan is left out.

    Returns:
        Shape (N,).
    """
    values = np.asarray(values, dtype=float)
    if not len(values):
        return np.zeros(0)
    half = min(max(len(values) // 20, 2), 25)
    padded = np.pad(values, half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    empty = np.isnan(windows).all(axis=1)
    result = np.full(len(values), np.nan)
    result[~empty] = np.nanmedian(windows[~empty], axis=1)
    return result
