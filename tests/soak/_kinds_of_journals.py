"""Journals of detection and classification, from which stopped work goes on."""

import json
import os
from pathlib import Path

from mhkd.errors import InputError
from mhkd.slide_classification.images import JOURNAL, classify_images, find_images
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.run import detect_slide

import matplotlib.pyplot  # noqa: F401  (which makes folders of its own when it is imported)
from _kinds import Kind, journal_line
from _kinds_of_annotations import _pipe
from _kinds_of_results import FOUND
from blob_student import BlobDetector, blob_student, write_disks
from bright_classifier import bright_classifier
from PIL import Image


class _Stops(BlobDetector):
    """Sees some batches, then is interrupted."""

    left = 3

    def forward(self, batch):
        self.left -= 1
        if self.left < 0:
            raise InputError("interrupted")
        return super().forward(batch)


def _interrupted(folder):
    path = write_disks(folder / "a.tiff", (1500, 1500))[0]
    os.utime(path, (1e9, 1e9))
    try:
        detect_slide(
            path,
            folder / "found",
            blob_student(network=_Stops()),
            DetectOptions(batch_size=1),
            progress=False,
        )
    except InputError:
        return
    raise AssertionError("was not interrupted")


def _detected():
    detect_slide(
        os.path.abspath("a.tiff"), Path("found"), blob_student(), DetectOptions(batch_size=1), progress=False
    )
    return json.loads(Path(FOUND).read_text())


TILES = "found/a.tiff/.work/tiles.jsonl"


def _journal(*records):
    def put(folder):
        first = (folder / TILES).read_bytes().splitlines(keepends=True)[0]
        (folder / TILES).write_bytes(first + b"".join(map(journal_line, records)))

    return put


ONE = [[[[1.0, 2.0, 30.0, 40.0]], [0.9], [0]]]
JOURNALS = {
    f"records {k}": _journal(*records)
    for k, records in enumerate(
        [
            [7],
            [None],
            ["x"],
            [[]],
            [[0]],
            [[0, 1, 2]],
            [[0, None]],
            [[0, 7]],
            [[0, [7]]],
            [[0, [[]]]],
            [["0", ONE]],
            [[[0], ONE]],
            [[{}, ONE]],
            [[10**30, ONE]],
            [[-1, ONE]],
            [[0.5, ONE]],
            [[True, ONE]],
            [[0, ONE * 2]],
            [[0, []]],
            *(
                [[0, [[boxes, scores, classes]]]]
                for boxes, scores, classes in (
                    ([[1, 2]], [0.9], [0]),
                    ([[1, 2, 3, 4]], [0.9, 0.8], [0]),
                    ([[1, 2, 3, 4]], [0.9], [7]),
                    ([[1, 2, 3, 4]], [0.9], [-1]),
                    ([[float("nan")] * 4], [0.9], [0]),
                    ([[1e38] * 4], [0.9], [0]),
                    ([[4, 3, 2, 1]], [0.9], [0]),
                    ([["a"] * 4], [0.9], [0]),
                    ([[1, 2, 3, 4]], [float("inf")], [0]),
                    ([[1, 2, 3, 4]], ["x"], [0]),
                    ([[1, 2, 3, 4]], [0.9], ["x"]),
                    ([[1, 2, 3, 4]], [0.9], [0.5]),
                    ([[1, 2, 3, 4]], [0.9], [10**30]),
                    ("abcd", [0.9], [0]),
                    ({}, {}, {}),
                    ([[0, 0, 1e9, 1e9]], [0.9], [0]),
                )
            ),
            *(
                [[0, [[[[1, 2, 30, 40]], [0.9], [0], outlines]]]]
                for outlines in (
                    ["POINT (1 2)"],
                    ["x"],
                    [7],
                    [],
                    ["POLYGON ((0 0, 1 1, 1 0, 0 0))", "POLYGON EMPTY"],
                    ["POLYGON ((0 0, nan 1, 1 0, 0 0))"],
                    ["POLYGON (" * 50_000],
                    7,
                )
            ),
        ]
    )
} | {
    "a pipe": lambda folder: _pipe(folder / TILES),
    "a folder": lambda folder: (os.remove(folder / TILES), os.mkdir(folder / TILES)),
}
IMAGES_SEEN = "told/.work/images.jsonl"


def _classified(folder):
    (folder / "images").mkdir()
    for k in range(3):
        Image.new("RGB", (40, 40), (60 * k, 70 * k, 80 * k)).save(folder / "images" / f"{k}.png")
        os.utime(folder / "images" / f"{k}.png", (1e9, 1e9))
    classify_images(find_images([str(folder / "images")])[:2], folder / "told", bright_classifier())
    assert (folder / "told" / JOURNAL).is_file()


def _classify_again():
    said = classify_images(find_images(["images"]), Path("told"), bright_classifier())
    names = ("dark", "pale")
    for told in said.probabilities.values():
        assert len(told) == len(names) and abs(sum(told) - 1) < 1e-6 and all(0 <= p <= 1 for p in told)
    return [[os.path.basename(path), told] for path, told in said.probabilities.items()] + sorted(said.errors)


def _seen(*records):
    def put(folder):
        first = (folder / IMAGES_SEEN).read_bytes().splitlines(keepends=True)[0]
        (folder / IMAGES_SEEN).write_bytes(first + b"".join(map(journal_line, records)))

    return put


SEEN = {
    f"records {k}": _seen(*records)
    for k, records in enumerate(
        [
            [7],
            [[0, 7]],
            [[0, {}]],
            [[0, {"file": "x", "state": 7, "probabilities": 1}]],
            [[0, {"file": [1], "state": [1, 2], "probabilities": [1, 0]}]],
            [[0, {"file": "x", "state": [[1]], "probabilities": [1, 0]}]],
            [[[1], {}]],
        ]
    )
}

KINDS = [
    Kind(
        "journal of detection",
        _interrupted,
        _detected,
        {TILES: "journal"},
        JOURNALS,
        fresh=True,
        exact=True,
        named=("found", "a.tiff"),
        share=0.5,
    ),
    Kind(
        "journal of classification",
        _classified,
        _classify_again,
        {IMAGES_SEEN: "journal"},
        SEEN,
        fresh=True,
        exact=True,
        named=("told",),
        share=0.4,
    ),
]
