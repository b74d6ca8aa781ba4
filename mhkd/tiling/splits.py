"""Which slide goes into which split: at random, by patient, as a table says, or in folds.

By hand, since scikit-learn's GroupShuffleSplit makes two parts and its GroupKFold knows no shares, while here
a split has any name and share and at least one patient, and must be the same with every version of a library.
"""

import math
import os
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ..errors import InputError, about
from ..slides.slide_table import by_slide, read_rows, row_of

DEFAULT_SHARES = "train=0.8,val=0.2"
_SPLIT_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # part of a file's and of a dataset's name


def split_by_slide(slides: Iterable[str], sizes: Mapping[str, float], seed: int = 0) -> dict[str, list[str]]:
    """Divide slides into splits at random; the order in which they are given does not matter.

    Args:
        slides: slide files.
        sizes: share of each split (summing to 1; each split
            gets at least one slide) or its number of slides (the rest is left out).
        seed: the same seed gives the same split.

    Returns:
        Slides of each split, disjoint, sorted.

    Raises:
        InputError: fewer slides than the splits need, or shares that do not sum to 1.
    """
    return _divide(slides, sizes, seed, "slides")


def split_slides(
    slides: Sequence[str],
    patients: Mapping[str, str],
    shares: Mapping[str, float] | None = None,
    folds: int | None = None,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Divide slides at random so that all slides of a patient stay together.

    Args:
        slides: slide files.
        patients: slide -> patient; a slide that is not in it is a patient of its
            own.
        shares: share of the patients of each split.
        folds: instead, as many pairs of splits, ``fold0_train``, ``fold0_val`` ...;
            every slide is in just one ``val``.
        seed: the same seed gives the same splits.

    Returns:
        Slides of each split, sorted.

    Raises:
        InputError: fewer patients than splits, or shares that do not sum to 1.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for slide in slides:
        members[patients.get(slide) or slide].append(slide)
    if len(members) == 1 < len(slides):
        raise InputError(
            f"all {len(slides)} slides are of one patient, {next(iter(members))}, who is not divided: "
            "correct --patient-pattern or the table, or leave it out where each slide is a patient of its own"
        )
    if folds is None:
        groups = _divide(members, shares or {}, seed, "slides" if not patients else "patients")
    else:
        if not 2 <= folds <= len(members):
            raise InputError(
                f"--folds {folds}: there must be at least 2, and no more than the {len(members)} "
                "patients (slides, where patients are not known)"
            )
        order = sorted(members)
        random.Random(seed).shuffle(order)
        groups = {}
        for k in range(folds):
            groups[f"fold{k}_train"] = [p for i, p in enumerate(order) if i % folds != k]
            groups[f"fold{k}_val"] = order[k::folds]
    return {s: sorted(slide for p in found for slide in members[p]) for s, found in groups.items()}


def _divide(items: Iterable[str], sizes: Mapping[str, float], seed: int, what: str) -> dict[str, list[str]]:
    items = sorted(set(items))
    if all(isinstance(v, int) for v in sizes.values()):
        counts = {k: int(v) for k, v in sizes.items()}
    else:
        if not abs(sum(sizes.values()) - 1) <= 1e-6 or min(sizes.values()) < 0:  # also for NaN
            raise InputError(f"the shares of the splits, {dict(sizes)}, must sum to 1")
        counts = {k: max(1, math.floor(v * len(items))) for k, v in sizes.items()}
        by_remainder = sorted(sizes, key=lambda k: sizes[k] * len(items) - counts[k], reverse=True)
        for k in by_remainder[: max(0, len(items) - sum(counts.values()))]:
            counts[k] += 1
        largest = max(counts, key=lambda k: counts[k])
        counts[largest] -= max(0, sum(counts.values()) - len(items))
    if min(counts.values()) < 0 or sum(counts.values()) > len(items) or 0 in counts.values():
        raise InputError(
            f"{len(items)} {what} cannot be divided into {dict(sizes)}: add some, or have fewer splits"
        )
    random.Random(seed).shuffle(items)
    splits, first = {}, 0
    for split, count in counts.items():
        splits[split] = sorted(items[first : first + count])
        first += count
    return splits


def assign_splits(
    slides: Sequence[str],
    *,
    shares: str | None = None,
    folds: int | None = None,
    table: str | None = None,
    pattern: str | None = None,
    seed: int = 0,
    default: str = DEFAULT_SHARES,
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Patients and splits by whatever the user has to go by.

    Args:
        slides: slide files.
        shares: see :func:`parse_shares`.
        folds: see :func:`split_slides`.
        table: see :func:`read_split_table`; with splits in it, it decides alone.
        pattern: see :func:`patients_by_pattern`.
        seed: of what is drawn at random.
        default: shares where nothing else says what the splits are.

    Returns:
        Slide -> patient, as far as known; slides of each split.

    Raises:
        InputError: two of them contradict each other, or one is at fault.
    """
    if shares and folds:
        raise InputError("--split and --folds exclude each other: folds have a train and a val")
    patients, splits = read_split_table(table, slides) if table else ({}, None)
    if pattern:
        if patients:
            raise InputError(f"{table}: names the patients, and so does --patient-pattern: use one")
        patients = patients_by_pattern(slides, pattern)
    if splits is None:
        parsed = None if folds else parse_shares(shares or default)
        return patients, split_slides(slides, patients, parsed, folds, seed)
    if shares or folds:
        raise InputError(f"{table}: has the splits; leave out --split and --folds")
    split_of: dict[str, str] = {}
    for split, found in splits.items():
        for slide in found:
            patient = patients.get(slide, slide)
            if split_of.setdefault(patient, split) != split:
                raise InputError(
                    f"{table}: the patient {patient} is in both {split_of[patient]} and {split}: "
                    "put all its slides into one, or the scores mean nothing"
                )
    return patients, splits


def parse_shares(text: str) -> dict[str, float]:
    """Shares such as "train=0.8,val=0.2" as a dict.

    Raises:
        InputError: not of this form.
    """
    shares = {}
    for part in text.split(","):
        split, equals, share = (p.strip() for p in part.partition("="))
        try:
            shares[check_split_name(split)] = float(share)
        except ValueError as e:
            if isinstance(e, InputError):
                raise
            raise InputError(f"--split {text}: write e.g. --split train=0.8,val=0.2") from e
    return shares


def patients_by_pattern(slides: Iterable[str], pattern: str) -> dict[str, str]:
    """The patient of every slide, from its file name.

    Args:
        slides: slide files.
        pattern: regular expression with a group ``(?P<patient>...)``, found anywhere in the
            name.

    Returns:
        Slide -> patient.

    Raises:
        InputError: no such expression, or a name in which it is not found.
    """
    remedy = "e.g. --patient-pattern '(?P<patient>[^_]+)_' takes what comes before the first _"
    try:
        compiled = re.compile(pattern)
    except re.error as e:
        raise InputError(f"--patient-pattern {pattern!r}: {e}; {remedy}") from e
    if "patient" not in compiled.groupindex:
        raise InputError(f"--patient-pattern {pattern!r} has no group named patient; {remedy}")
    patients = {}
    for slide in slides:
        found = compiled.search(os.path.basename(slide))
        if not found or not found["patient"]:
            raise InputError(f"{slide}: --patient-pattern {pattern!r} finds no patient in its name")
        patients[slide] = found["patient"]
    return patients


def read_split_table(path: str, slides: Iterable[str]) -> tuple[dict[str, str], dict[str, list[str]] | None]:
    """Patients and splits from a CSV file with the columns slide, and patient or split or both.

    Args:
        path: comma- or semicolon-separated; slides by file name, with or without its ending.
        slides: slide files; each needs a row.

    Returns:
        Slide -> patient, empty without such a
        column; and the slides of each split, None without such a column.

    Raises:
        InputError: no such table, or a slide that it lacks, has twice or without a value.
    """
    table = read_rows(path, "splits", lambda columns: not {"patient", "split"}.isdisjoint(columns))
    if table is None:
        raise InputError(f"{path}: needs the columns slide and patient or split, in its first line")
    wanted = ("slide", "patient", "split")
    rows = by_slide(path, [{c: v for c, v in row.items() if c in wanted} for row in table])
    patients: dict[str, str] = {}
    splits: dict[str, list[str]] = defaultdict(list)
    for slide in sorted(slides):
        base = os.path.basename(slide)
        row = row_of(rows, slide)
        if row is None:
            raise InputError(f"{path}: has no row for the slide {base}: add it")
        if not all(row.values()):
            raise InputError(f"{path}: the row of the slide {base} has an empty value: fill it in")
        if "patient" in row:
            patients[slide] = row["patient"]
        if "split" in row:
            with about(path):
                splits[check_split_name(row["split"])].append(slide)
    return patients, dict(splits) or None


def check_split_name(split: str) -> str:
    """The name; it becomes part of a file's.

    Raises:
        InputError: it cannot.
    """
    if not _SPLIT_NAME.fullmatch(split):
        raise InputError(f"{split!r} is no name for a split: use letters and digits, e.g. train")
    return split
