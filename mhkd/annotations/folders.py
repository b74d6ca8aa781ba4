"""What lies in folders of slides and annotations: every entry is used, or named with a reason.

Silent are hidden files, what an operating system leaves, files that belong to a slide of several files, and
folders that our own commands made.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..errors import InputError
from ..slides import dicom
from ..slides.file_names import slide_name
from .find import LINES, OUTLINES, looks_like_labels, outline_suffixes
from .yolo import read_with

# TIFFs of any suffix are opened as what is in them.
_SLIDES = tuple(".svs .tif .tiff .ndpi .mrxs .scn .vms .vmu .svslide .bif .qptiff .btf .tf2 .tf8".split())
_CONVERT = "convert it to a tiled pyramidal TIFF, which QuPath exports too"
_UNREAD_SLIDES = {
    **{s: "put the files of a DICOM slide into a folder of its own" for s in dicom.SUFFIXES},
    **{s: f"Zeiss slides are not read: {_CONVERT}" for s in (".czi", ".zvi")},
    **{s: f"Olympus slides are not read: {_CONVERT}" for s in (".vsi", ".ets", ".oir", ".oib", ".oif")},
    **{s: f"Philips slides are not read: {_CONVERT}" for s in (".isyntax", ".i2syntax")},
    **{
        s: f"slides of this format are not read: {_CONVERT}"
        for s in ".lif .nd2 .kfb .kfbf .sdpc .dyqx .tmap .tron .mds .mdsx .afi .jp2 .j2k .jpx .zarr".split()
    },
}
_UNREAD_ANNOTATIONS = {
    ".qpdata": "is QuPath's own file: export the objects from QuPath as GeoJSON",
    **{outlines + s: "is packed: unpack it" for s in (".gz", ".zip") for outlines in OUTLINES},
}
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_SYSTEM = {"thumbs.db", "desktop.ini", "$recycle.bin", "__macosx", "system volume information"}
_OURS = {"manifest.json", "cut.json", ".tile", "summary.csv", "run.json", "scores.json", "last_checkpoint"}


@dataclass(frozen=True)
class Entry:
    """Something in a folder.

    Attributes:
        path: where.
        kind: "slide", "annotations", "image", "folder" or "other", by its name.
        fault: why it cannot be used whatever it is asked for.
        same_as: the slide that is the same file by another name, and is used.
    """

    path: str
    kind: str
    fault: str | None = None
    same_as: str | None = None


@dataclass(frozen=True)
class Unused:
    """An entry that is not used.

    Attributes:
        path: where.
        reason: why.
        is_slide: it looks like a slide.
        is_fault: it looks like a slide or annotations, and something is to be done about it.
    """

    path: str
    reason: str
    is_slide: bool = False
    is_fault: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def look_into(folder: str) -> Iterator[Entry]:
    """Yields what is in a folder, sorted by name.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as e:
        raise InputError(f"{folder}: cannot be read ({e.strerror})") from e
    stems = {os.path.splitext(n)[0] for n in names if n.lower().endswith((".mrxs", ".vms", ".vmu", ".vsi"))}
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith((".", "~$")) or name.lower() in _SYSTEM or _belongs_to(name, stems):
            continue
        kind = _kind(path)
        if kind != "folder" or not _OURS & set(_list(path)):
            yield Entry(path, kind, _fault(path, kind))


def find_slides(paths: Iterable[str | os.PathLike[str]]) -> tuple[list[str], list[Entry]]:
    """Files, and the slides in folders.

    Args:
        paths: files and folders. The folder of a DICOM series is a slide, and so is any file of it.

    Returns:
        The slides, sorted by path, each once; and what else is in the folders.

    Raises:
        InputError: a folder has no slides, or cannot be read.
    """
    found: list[str] = []
    others: list[Entry] = []
    in_folders: list[str] = []
    for given in paths:
        path = os.fspath(given)
        series = _series_of(os.path.abspath(path))
        if series:
            found.append(series)
            continue
        if not os.path.isdir(path):
            found.append(path)
            continue
        entries = list(look_into(path))
        inside = [e.path for e in entries if e.kind == "slide" and not e.fault]
        others += [e for e in entries if e.path not in inside]
        found += inside
        in_folders += inside
        if not inside:
            faults = "".join(f"\n  {u}" for u in unused(others, [], {}) if u.is_fault)
            known = ", ".join((*_SLIDES, "folders of .dcm"))
            what = f"has no slides ({known}); PNG and JPEG are to be named one by one"
            raise InputError(f"{path}: {what}{faults}")
    slides = {os.path.realpath(p): p for p in found}
    for path in in_folders:
        kept = slides[os.path.realpath(path)]
        if os.path.abspath(kept) != os.path.abspath(path):
            others.append(Entry(path, "slide", same_as=kept))
    return sorted(slides.values()), others


def annotations_in(folder: str | os.PathLike[str]) -> list[Entry]:
    """What is in a folder of annotations but slides and pictures, which may lie there for other reasons."""
    if not os.path.isdir(folder):
        return []
    entries = look_into(os.fspath(folder))
    return [e for e in entries if e.kind == "annotations" or (e.fault and e.kind != "slide")]


def unused(
    entries: Iterable[Entry],
    slides: Iterable[str],
    annotations: Mapping[str, str] | None,
    also_used: Iterable[str | None] = (),
) -> list[Unused]:
    """Which entries are not used, and why.

    Args:
        entries: what is in the folders that were named.
        slides: those that are asked for.
        annotations: of each slide that could be used its annotation file; None: none are asked for.
        also_used: other files and folders that the command was given.
    """
    slides = list(slides)
    owners = {n: s for s in slides for n in (os.path.basename(s), slide_name(s))}
    files = [*slides, *(annotations or {}).values(), *also_used]
    files += [read_with(path) for path in set((annotations or {}).values()) if os.path.isfile(path or "")]
    used = {os.path.realpath(f) for f in files if f}
    found: dict[str, Unused] = {}
    for entry in entries:
        if entry.fault or entry.same_as or os.path.realpath(entry.path) not in used:
            owner = owners.get(slide_name(entry.path))  # as is_named_like decides
            own = None if owner is None or annotations is None else annotations.get(owner, "")
            if not entry.fault and own == "" and entry.kind in ("annotations", "image"):
                continue  # the slide's own error says what is wrong
            found.setdefault(os.path.abspath(entry.path), _unused(entry, owner, own, annotations is not None))
    return list(found.values())


def lines(entries: Iterable[Unused], limit: int = 20) -> list[str]:
    """For the terminal: faults one by one, others together by their reason."""
    said: list[str] = []
    together: dict[str, list[str]] = {}
    for entry in entries:
        if entry.is_fault:
            said.append(f"skipped: {entry}")
        else:
            together.setdefault(entry.reason, []).append(entry.path)
    for reason, paths in together.items():
        more = f" and {len(paths) - limit} more" if len(paths) > limit else ""
        said.append(f"not used: {', '.join(paths[:limit])}{more}: {reason}")
    return said


def _unused(entry: Entry, owner: str | None, own: str | None, are_asked_for: bool) -> Unused:
    if entry.fault and (are_asked_for or entry.kind != "annotations"):
        is_slide = entry.kind == "slide"
        return Unused(entry.path, entry.fault, is_slide, is_slide or entry.kind == "annotations")
    if entry.same_as:
        return Unused(entry.path, f"is the same file as {entry.same_as}")
    if owner and own and entry.kind != "folder":
        return Unused(entry.path, f"the annotations of {os.path.basename(owner)} are read from {own}")
    if entry.kind == "annotations" and are_asked_for:
        return Unused(entry.path, "named like none of the slides, and no file of all slides")
    reasons = {
        "slide": "not among the slides that were named",
        "annotations": "no slide",
        "image": "a PNG or JPEG may be a label mask: to read one as a slide, name it instead of its folder",
        "folder": "folders in folders are not looked into: name it too",
        "other": "neither a slide nor annotations",
    }
    return Unused(entry.path, reasons[entry.kind])


def _kind(path: str) -> str:
    name = os.path.basename(path).lower()
    suffix = os.path.splitext(name)[1]
    if suffix in _SLIDES or suffix in _UNREAD_SLIDES:
        return "slide"
    if os.path.isdir(path):
        return "slide" if _is_series(path) else "folder"
    if name.endswith((*outline_suffixes(), LINES, *_UNREAD_ANNOTATIONS)) or looks_like_labels(path):
        return "annotations"
    return "image" if suffix in _IMAGES else "other"


def _is_series(folder: str) -> bool:
    """Whether a folder has DICOM files, and no slides that are files."""
    return bool(dicom.files_of(folder)) and not any(n.lower().endswith(_SLIDES) for n in _list(folder))


def _series_of(path: str) -> str | None:
    """The folder of the DICOM series that a path is, or is a file of."""
    is_folder = os.path.isdir(path)
    if not (is_folder or path.lower().endswith(dicom.SUFFIXES) and os.path.isfile(path)):
        return None
    folder = path if is_folder else os.path.dirname(path)
    return folder if _is_series(folder) else None


def _fault(path: str, kind: str) -> str | None:
    suffix = os.path.splitext(path)[1].lower()
    if os.path.islink(path) and not os.path.exists(path):
        return f"is a dead link: there is no {os.readlink(path)}; restore or remove it"
    try:
        mode = os.stat(path).st_mode
    except OSError as e:
        return f"cannot be read ({e.strerror})"
    if stat.S_ISDIR(mode) and (kind != "slide" or _is_series(path)):
        return None
    if suffix in _UNREAD_SLIDES:
        return _UNREAD_SLIDES[suffix]
    if stat.S_ISDIR(mode):
        return "is a folder, not a slide"
    if not stat.S_ISREG(mode):
        return "is no file"
    if not os.access(path, os.R_OK):
        return "cannot be read (no permission)"
    if suffix == ".mrxs" and not os.path.isdir(os.path.splitext(path)[0]):
        return f"its pixels are missing: put the folder {_stem(path)} beside it"
    return next((why for s, why in _UNREAD_ANNOTATIONS.items() if path.lower().endswith(s)), None)


def _belongs_to(name: str, stems: set[str]) -> bool:
    """Whether a file or folder is a part of a slide of several files."""
    if name in stems or (name[:1] == name[-1:] == "_" and name[1:-1] in stems):
        return True  # MIRAX, Olympus
    is_part = name.lower().endswith((".jpg", ".opt", ".ngr"))  # Hamamatsu
    return is_part and any(name.startswith(s) for s in stems)


def _list(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
