"""Which files are datasets: ``<root>/<name>/annotations_<split>.json``, COCO's, and ``labels_<split>.csv``,
images with a class each. Either is the dataset ``<name>_<split>``."""

import glob
import os

from ..annotations.find import looks_like_coco
from ..errors import InputError

FORMS = (("annotations_", ".json"), ("labels_", ".csv"))


def datasets_root(root: str | os.PathLike[str] | None = None) -> str:
    """The folder of the datasets: ``root``, or DETECTRON2_DATASETS, or ``datasets/``."""
    return os.path.expanduser(os.fspath(root or os.environ.get("DETECTRON2_DATASETS") or "datasets"))


def is_labels(path: str) -> bool:
    """Whether a dataset's file is one of images with a class each, not COCO's."""
    return path.endswith(".csv")


def split_of(path: str) -> str:
    """ "train" of ``annotations_train.json`` or ``labels_train.csv``."""
    return os.path.basename(path).partition("_")[2].rpartition(".")[0]


def splits_in(folder: str) -> list[str]:
    """A dataset's files, by form and name."""
    escaped = glob.escape(folder)
    return [f for prefix, end in FORMS for f in sorted(glob.glob(os.path.join(escaped, f"{prefix}*{end}")))]


def all_datasets(root: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """The file of every dataset ``<name>_<split>``."""
    found: dict[str, str] = {}
    for folder in sorted(glob.glob(os.path.join(glob.escape(datasets_root(root)), "*", ""))):
        for path in splits_in(os.path.dirname(folder)):
            found.setdefault(f"{os.path.basename(os.path.dirname(path))}_{split_of(path)}", path)
    return found


def find_file(plain_name: str, root: str | os.PathLike[str] | None = None) -> str | None:
    """The file of ``<name>_<split>``; both parts may have underscores of their own."""
    parts = plain_name.split("_")
    for i in range(len(parts) - 1, 0, -1):
        folder, split = "_".join(parts[:i]), "_".join(parts[i:])
        for prefix, end in FORMS:
            path = os.path.join(datasets_root(root), folder, f"{prefix}{split}{end}")
            if os.path.exists(path):
                return path
    return None


def check_only_form(path: str) -> None:
    """A split must be of boxes or of labels.

    Raises:
        InputError: there is a file of either form.
    """
    folder = os.path.dirname(path)
    both = [f"{prefix}{split_of(path)}{end}" for prefix, end in FORMS]
    if all(os.path.exists(os.path.join(folder, name)) for name in both):
        raise InputError(
            f"{folder}: has both {' and '.join(both)}, which would have the same name: rename one of them"
        )


def dataset_files(name: str, root: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Files of a dataset or of one of its splits.

    Args:
        name: ``my_kidneys`` for all splits or ``my_kidneys_train`` for one, ``@class`` or not.
        root: as for :func:`mhkd.data.register_folders`.

    Returns:
        Name of each split, as in ``cfg.DATASETS``, and its file.

    Raises:
        InputError: there is no such dataset.
    """
    plain, at, merged = name.partition("@")
    folder = os.path.join(datasets_root(root), plain)
    if found := splits_in(folder):
        prefix = os.path.basename(os.path.normpath(folder))
        return {f"{prefix}_{split_of(f)}{at}{merged}": f for f in found}
    path = find_file(plain, root)
    if path is None:
        raise InputError(
            f"dataset {name!r}: there is no {folder}/annotations_*.json or labels_*.csv: put it there, or "
            "point the environment variable DETECTRON2_DATASETS at the folder that holds it. Datasets found: "
            f"{', '.join(sorted(all_datasets(root))) or 'none'}"
        )
    return {name: path}


def stray_files(folder: str) -> list[str]:
    """COCO files of a dataset's folder that no name makes a split."""
    prefix, end = FORMS[0]
    names = sorted(n for n in os.listdir(folder or ".") if n.lower().endswith(end))
    others = [os.path.join(folder, n) for n in names if not n.startswith((prefix, "."))]
    return [path for path in others if looks_like_coco(path)]
