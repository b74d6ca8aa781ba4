"""The name that a slide's file gives it, and files that others may name."""

import os

from ..errors import InputError


def slide_name(path: str | os.PathLike[str]) -> str:
    """A slide's name: its file name without the suffix (".ome.tiff" is one, the end of a UID is none)."""
    base = os.path.basename(path)
    stem, suffix = os.path.splitext(base)
    if suffix[1:].isdigit():  # of DICOM, whose folders have UIDs for names
        return base
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def can_be_slide(path: str) -> bool:
    """Whether there is a file, or the folder of a DICOM series; a pipe or a device is neither."""
    return os.path.isfile(path) or os.path.isdir(path)


def check_slide_file(path: str, where: str) -> None:
    """Raise InputError, for what names it, unless :func:`can_be_slide`."""
    if not can_be_slide(path):
        raise InputError(f"{where}: the slide {path} does not exist, or is no file: restore it")


def path_below(folder: str, file_name: str, where: str) -> str:
    """The path of a file that a dataset names, which lies in the dataset's own folder.

    A dataset may be a stranger's, and what it names is copied into overlays and tiles. Links in the folder,
    which its owner has put there, are followed.

    Args:
        folder: of the dataset.
        file_name: relative to it, or an absolute path below it.
        where: what names it, for the message.

    Raises:
        InputError: it lies elsewhere.
    """
    name = os.path.normpath(file_name)
    if os.path.isabs(name) or os.path.splitdrive(name)[0]:
        inside = name.startswith(os.path.join(os.path.abspath(folder), ""))
    else:
        inside = name.split(os.sep)[0] != os.pardir
    if not inside:
        raise InputError(
            f"{where}: {file_name} is not below {folder}: copy the image there, or a link to its folder"
        )
    return os.path.join(folder, name)
