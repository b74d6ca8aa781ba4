"""Which annotation file belongs to a slide."""

import functools
import os
from collections.abc import Callable

from ..errors import InputError
from ..slides.file_names import slide_name
from .annotation import AnnotationSet
from .formats import own_suffixes
from .hubmap_csv import csv_columns
from .hubmap_jsonl import is_jsonl
from .yolo import is_labels

OUTLINES = (".geojson", ".json", ".xml", ".annotations", ".ndpa")
MASKS = (".png", ".tif", ".tiff")
LINES = ".jsonl"


def find_annotations(slide_path: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None) -> str:
    """The annotation file of a slide in a folder.

    Files named like the slide come first (see :func:`is_named_like`), outlines before masks; then files of
    many slides: HuBMAP's lines of JSON, else a CSV of runs, else a COCO file, else what is alone. So HuBMAP's
    polygons win over the runs of its ``train.csv``, and a table of patients or notes are no annotations.

    Args:
        slide_path: slide.
        folder: folder, or the file itself; by default the slide's folder.

    Returns:
        Path; what the file holds is found when it is read, and then whether it is the slide's, see
        :func:`belongs_to`.

    Raises:
        InputError: none, or several that could be meant; or it is a dead link.
    """
    folder = os.fspath(folder or os.path.dirname(os.path.abspath(slide_path)))
    if not os.path.isdir(folder):
        if os.path.exists(folder):
            return folder
        raise InputError(f"{folder}: there is no such folder of annotations: correct the path")
    slide = os.path.basename(slide_path)
    files = [n for n in _files(folder) if not _is_same(os.path.join(folder, n), slide_path)]
    own = [n for n in files if is_named_like(n, slide)]
    choices: tuple[Callable[[], list[str]], ...] = (
        lambda: [
            n for n in own if _ends(n, outline_suffixes()) or looks_like_labels(os.path.join(folder, n))
        ],
        lambda: [n for n in own if _ends(n, MASKS)],
        lambda: [n for n in files if _ends(n, (LINES,)) and _holds(os.path.join(folder, n), _is_jsonl)],
        lambda: [n for n in files if _ends(n, (".csv",)) and _holds(os.path.join(folder, n), _is_runs)],
        lambda: [n for n in files if _ends(n, (".json",)) and looks_like_coco(os.path.join(folder, n))],
        lambda: _alone([n for n in files if _ends(n, outline_suffixes())]),
    )
    for choose in choices:
        candidates = choose()
        if len(candidates) > 1:
            raise InputError(
                f"{folder}: {' and '.join(candidates)} could both be the annotations of {slide}: "
                "remove what is not wanted"
            )
        if candidates:
            path = os.path.join(folder, candidates[0])
            if not os.path.exists(path):
                raise InputError(f"{path}: is a dead link: restore the annotations of {slide}, or remove it")
            return path
    raise InputError(
        f"{folder}: has no annotations of {slide}: they are named {slide_name(slide)}.geojson, .json, .xml, "
        ".annotations, .ndpa, .txt, .png or .tiff, or in one file of all slides (CSV, COCO, JSONL)"
    )


def is_named_like(path: str | os.PathLike[str], slide_path: str | os.PathLike[str]) -> bool:
    """Whether a file is called like a slide: ``a.geojson`` and ``a.svs.json`` like ``a.svs``; ``a.geojson``,
    ``a.ome.geojson`` and ``a.ome.tiff.json`` like ``a.ome.tiff``."""
    return slide_name(path) in (slide_name(slide_path), os.path.basename(slide_path))


def belongs_to(annotations: AnnotationSet, slide_path: str | os.PathLike[str]) -> bool:
    """Whether annotations that were read are a slide's own: by the file's name, or since it says so."""
    return annotations.of_many_slides or is_named_like(annotations.path, slide_path)


def outline_suffixes() -> tuple[str, ...]:
    """Endings of files with the outlines of a slide, those of formats of the user's own included."""
    return OUTLINES + own_suffixes()


def looks_like_coco(path: str | os.PathLike[str]) -> bool:
    """Whether a file can be read and has the keys of COCO; it need not be valid."""
    return _holds(os.fspath(path), _is_coco)


def looks_like_labels(path: str | os.PathLike[str]) -> bool:
    """Whether a file can be read and begins like YOLO's labels, which any text may be called like."""
    return _ends(os.fspath(path), (".txt",)) and _holds(os.fspath(path), _is_labels)


def _files(folder: str) -> list[str]:
    """Names of what is no folder and not hidden, sorted; dead links too."""
    try:
        with os.scandir(folder) as entries:
            visible = [e for e in entries if not e.name.startswith(".")]
            return sorted(e.name for e in visible if e.is_file() or not os.path.exists(e.path))
    except OSError as e:
        raise InputError(f"{folder}: cannot be read ({e.strerror})") from e


def _is_same(path: str, slide_path: str | os.PathLike[str]) -> bool:
    return os.path.exists(path) and os.path.exists(slide_path) and os.path.samefile(path, slide_path)


def _ends(name: str, endings: tuple[str, ...]) -> bool:
    return name.lower().endswith(endings)


def _alone(names: list[str]) -> list[str]:
    return names if len(names) == 1 else []


def _holds(path: str, is_format: Callable[[str, int, int], bool]) -> bool:
    """Whether a file can be read and is of a format."""
    try:
        status = os.stat(path)
        return is_format(path, status.st_mtime_ns, status.st_size)
    except OSError:
        return False


@functools.lru_cache(maxsize=4096)  # it is asked for every slide
def _is_runs(path: str, mtime_ns: int, size: int) -> bool:
    with open(path, "rb") as f:
        return csv_columns(f.read(4096)) is not None


def _is_jsonl(path: str, mtime_ns: int, size: int) -> bool:
    with open(path, "rb") as f:
        return is_jsonl(f.read(4096))


def _is_labels(path: str, mtime_ns: int, size: int) -> bool:
    with open(path, "rb") as f:
        return is_labels(path, f.read(4096))


@functools.lru_cache(maxsize=4096)
def _is_coco(path: str, mtime_ns: int, size: int) -> bool:
    """By its keys, which no other of the formats has together."""
    wanted, tail = {b'"images"', b'"annotations"'}, b""
    with open(path, "rb") as f:
        while block := f.read(2**20):
            wanted -= {key for key in wanted if key in tail + block}
            if not wanted:
                return True
            tail = block[-16:]
    return False
