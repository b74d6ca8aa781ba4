"""Which annotation file belongs to a slide."""

import os

from mhkd.errors import InputError

_OUTLINES, _MASKS, _SHARED = (".geojson", ".json", ".xml"), (".png", ".tif", ".tiff"), (".csv",)


def find_annotations(slide_path, folder):
    """The annotation file of a slide in a folder.

    Files named like the slide come first (``a.svs``: ``a.geojson``, ``a.svs.json``; ``a.ome.tiff``:
    ``a.geojson``, ``a.ome.geojson``), outlines
    before masks; then files of many slides: CSV, and JSON if it is the only one. So HuBMAP's
    polygons win over the runs of its ``train.csv``.

    Args:
        slide_path (str): slide.
        folder (str): folder, or the file itself.

    Returns:
        str: path; what the file holds is found when it is read.

    Raises:
        InputError: none, or several that could be meant.
    """
    if not os.path.isdir(folder):
        if os.path.exists(folder):
            return os.fspath(folder)
        raise InputError(f"{folder}: there is no such folder of annotations: correct the path")
    slide = os.path.basename(slide_path)
    stem = os.path.splitext(slide)[0]
    names = (slide, stem, slide_name(slide))
    files = sorted(
        n
        for n in os.listdir(folder)
        if not os.path.exists(slide_path) or not os.path.samefile(os.path.join(folder, n), slide_path)
    )
    own = [n for n in files if os.path.splitext(n)[0] in names]
    shared = [n for n in files if _ends(n, _SHARED)] or [n for n in files if _ends(n, _OUTLINES)]
    for candidates in (
        [n for n in own if _ends(n, _OUTLINES)],
        [n for n in own if _ends(n, _MASKS)],
        shared if len(shared) == 1 else [],
    ):
        if len(candidates) > 1:
            raise InputError(
                f"{folder}: {' and '.join(candidates)} could both be the annotations of {slide}: "
                "remove what is not wanted"
            )
        if candidates:
            return os.path.join(folder, candidates[0])
    raise InputError(
        f"{folder}: has no annotations of {slide}: they are named {slide_name(slide)}.geojson, .json, .xml, "
        ".png or .tiff, or in one file of all slides (CSV, COCO)"
    )


def _ends(name, endings):
    return name.lower().endswith(endings)


def slide_name(path):
    """A slide's name: its file name without the suffix (".ome.tiff" counts as one)."""
    stem = os.path.splitext(os.path.basename(path))[0]
    return stem[:-4] if stem.lower().endswith(".ome") else stem
