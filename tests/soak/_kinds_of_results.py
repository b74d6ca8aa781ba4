"""Folders of results of ``mhkd detect``, and what people corrected."""

import json
import os
from pathlib import Path

from mhkd.corrections.fields import next_fields
from mhkd.corrections.journal import CorrectionFile
from mhkd.slide_detection.differences import differences
from mhkd.slide_detection.finished import find_finished
from mhkd.synthetic.slides import write_tiff
from mhkd.viewer.content import ShownSlide

import matplotlib.pyplot  # noqa: F401  (which makes folders of its own when it is imported)
import numpy as np
from _kinds import Kind, said_by
from _kinds_of_annotations import _pipe, _put
from results_folder import write_result

BOXES = [[100, 100, 200, 200], [300, 300, 400, 420], [600, 100, 700, 200], [700, 600, 800, 700]]
RUN, FOUND, SUMMARY, WORDS = (
    f"found/a.tiff/{name}"
    for name in ("run.json", "coco_instances_results.json", "summary.json", "corrections.jsonl")
)
NUMBER = "0ba0e4f8-1111-5222-8333-44445555666{}"


def _results(folder):
    (folder / "slides").mkdir()
    slide = folder / "slides" / "a.tiff"
    write_tiff(slide, np.full((800, 1000, 3), (200, 150, 190), np.uint8), 1.0, "pink")
    squares = {"quality": {"square_um": 50, "squares_um": {"blurred": [[0, 0], [100, 50]]}}}
    write_result(
        folder / "found",
        slide,
        BOXES,
        [0.9, 0.8, 0.55, 0.3],
        [0, 0, 1, 0],
        size_px=(1000, 800),
        mpp_xy=[1.0, 1.0],
        student={"sha256": "ab" * 32, "folder": "s"},
        **squares,
    )
    words = [
        {"mhkd_corrections": 1, "slide": "a.tiff", "size_px": [1000, 800]},
        {
            "id": NUMBER.format(1),
            "box_px": [500, 600, 560, 660],
            "verdict": "accepted",
            "class_name": "sclerotic",
        },
        {"id": NUMBER.format(2), "box_px": [100, 100, 200, 200], "verdict": "rejected", "class_name": None},
        {"id": NUMBER.format(3), "box_px": [0, 0, 300, 300], "verdict": "field", "class_name": None},
    ]
    (folder / WORDS).write_text("".join(json.dumps(word) + "\n" for word in words))
    ring = [[110, 110], [190, 110], [190, 190], [110, 190], [110, 110]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "normal"}},
    }
    (folder / "slides" / "a.geojson").write_text(json.dumps([feature]))


def _viewed():
    """All that the page asks for."""
    finished, _, damaged = find_finished("found")
    mixed = differences(finished)
    shown = [ShownSlide(one, None, None, tuple(mixed)) for one in finished]
    said = [
        [s.heading(), s.content() | {"key": ""}, s.missing, s.locked, s.corrections.after(0)] for s in shown
    ]
    for slide in shown:
        json.loads(slide.corrections.geojson(0.5))
        if slide.deep_zoom:
            slide.deep_zoom.tile(0, 0, 0)
    fields = next_fields(finished, 50)
    json.dumps([said, [f.box_px for one in fields for f in one.fields]], allow_nan=False)
    return [said, sorted(damaged)]


def _scored():
    said = said_by(
        "score", "found", "--annotations", "slides", "--out", "../out", "--bootstrap", "5", "--sheets", "1"
    )
    json.loads(Path("../out/scores.json").read_text(), parse_constant=_no_number)
    return said


def _no_number(name):
    raise AssertionError(f"{name} is no JSON")


def _next():
    return said_by("next", "found", "--out", "../out/next.csv")


def _corrected():
    said = said_by("corrections", "found", "--out", "../out")
    return [said, [json.loads(p.read_text()) for p in sorted(Path("../out").glob("*.geojson"))]]


def _words():
    finished, _, _ = find_finished("found")
    return [[c.id, c.verdict, c.class_name, list(c.box_px)] for c in CorrectionFile(finished[0]).all()]


def _edited(path, *keys, value):
    def put(folder):
        content = json.loads((folder / path).read_text())
        node = content
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value
        (folder / path).write_text(json.dumps(content))

    return put


NASTY = {
    f"{'.'.join(map(str, keys))} {value!r:.24}": _edited(path, *keys, value=value)
    for path, keys, values in (
        (
            RUN,
            ("slide_file",),
            ("/etc/passwd", "/dev/zero", "http://127.0.0.1:9/a.svs", "x" * 5000, "a\nb", "\ud800", "..", ""),
        ),
        (
            RUN,
            ("classes",),
            ([], ["a"], ["a\nb", "\x1b[2J"], ["<script>"] * 2, [""] * 2, ["x" * 10**6] * 2, ["\ud800"] * 2),
        ),
        (
            RUN,
            ("size_px",),
            ([1e300, 1], [1, 1], [0, 0], [10**400, 1], ["a", "b"], [True, True], [1.5, 2.5], {}),
        ),
        (
            RUN,
            ("mpp_xy",),
            ([1e-300, 1], [1e300, 1e300], [0, 1], [10**400, 1], "ab", [[1], [2]], [5e-324, 5e-324]),
        ),
        (
            RUN,
            ("parameters",),
            (
                [],
                {},
                None,
                {"score_threshold": 1e400},
                {"keep_from_score": "0.5"},
                {"slide_mpp": "x"},
                {"slide_mpp": -1},
                {"slide_mpp": [1]},
                {"slide_mpp": 10**400},
                {"slide_mpp": 1e-300},
            ),
        ),
        (
            RUN,
            ("grade",),
            ([], {"classes": 7}, {"classes": ["a"]}, {"classes": [[]]}, {"classes": ["a"] * 10**6}, {}),
        ),
        (
            RUN,
            ("quality",),
            (
                [],
                {"square_um": 1e400, "squares_um": {"a": [[0, 0]]}},
                {"square_um": 1, "squares_um": {"a": [[1e308, 0]] * 3}},
                {"square_um": 1, "squares_um": {"a": [[10**400, 0]]}},
                {"square_um": "x", "squares_um": {"a\nb": 7}},
            ),
        ),
        (RUN, ("slide_checksum",), ("x", {"bytes": 7}, [], {"bytes": "a\nb"})),
        (RUN, ("student",), ([], {"sha256": 7, "folder": 7}, {"tile_px": [1]}, {"lr_mpp": {}})),
        (
            FOUND,
            (0, "bbox"),
            (
                [0, 0, 1e308, 1e308],
                [1e308] * 4,
                [0] * 4,
                [-1e9, 0, 1, 1],
                [1, 2],
                "abcd",
                [None] * 4,
                [10**400] * 4,
                [[1]] * 4,
            ),
        ),
        (FOUND, (0, "category_id"), (0, -1, 3, 10**18, 10**400, "1", 1.5, None, [1], True)),
        (FOUND, (0, "score"), (2, -1, 1e308, "0.5", None, True, [0.5], 10**400)),
        (
            FOUND,
            (0, "segmentation"),
            (
                [],
                [[1, 2]],
                [[1e308] * 8],
                [[0, 0, 9, 9, 9, 0, 0, 9]],
                "x",
                {"counts": "x", "size": [1, 2]},
                [["a"] * 6],
            ),
        ),
        (FOUND, (0, "grades"), ([1.0], "x", [[1]], {})),
        (SUMMARY, ("glomeruli",), (-1, 1e308, "4", None, 10**400, [], True)),
        (SUMMARY, ("tissue_mm2",), (0, 1e308, -0.0, 5e-324, "x", 10**400)),
    )
    for value in values
} | {
    f"{name} of {path.split('/')[-1]}": (lambda folder, path=path, put=put: put(folder, path))
    for path in (RUN, FOUND, SUMMARY, WORDS)
    for name, put in (
        ("nothing", lambda folder, path: (folder / path).write_bytes(b"")),
        ("deep lists", lambda folder, path: (folder / path).write_text('{"a": ' + "[" * 200_000 + "\n")),
        ("a number without end", lambda folder, path: (folder / path).write_text("[" + "1" * 10_000 + "]\n")),
        ("a pipe", lambda folder, path: _pipe(folder / path)),
        ("a folder", lambda folder, path: (os.remove(folder / path), os.mkdir(folder / path))),
        ("other bytes", lambda folder, path: (folder / path).write_bytes(b"\xff\xfe\x00\xd8")),
        (
            "a mark",
            lambda folder, path: (folder / path).write_bytes(b"\xef\xbb\xbf" + (folder / path).read_bytes()),
        ),
        ("a list of lists", lambda folder, path: (folder / path).write_text("[[]]\n")),
        (
            "a link outside",
            lambda folder, path: (
                os.remove(folder / path),
                os.symlink(folder.parent / "outside" / "none", folder / path),
            ),
        ),
    )
}
HEADER = {"mhkd_corrections": 1, "slide": "a.tiff", "size_px": [1000, 800]}
OF_WORDS = {
    f"words {k}": _put("".join(json.dumps(line) + "\n" for line in lines), WORDS)
    for k, lines in enumerate(
        [
            [{}],
            [[]],
            [7],
            ["x"],
            [None],
            [{"mhkd_corrections": 2}],
            [{"mhkd_corrections": [1]}],
            [{**HEADER, "slide": "b"}],
            [{**HEADER, "size_px": 7}],
            [{**HEADER, "slide_checksum": {"bytes": "a\nb"}, "slide": "x\ny\x1b[2J"}],
            [HEADER, HEADER, {**HEADER, "slide": ["x"] * 9, "size_px": [1, 2]}],
            *(
                [HEADER, {"id": NUMBER.format(1), "box_px": box, "verdict": "accepted", "class_name": name}]
                for box in (
                    [0, 0, 1, 1],
                    [1e308] * 4,
                    [0, 0, 1e8, 1e8],
                    [0, 0, True, 1],
                    [float("nan")] * 4,
                    [10**400] * 4,
                )
                for name in ("a\nb", "", "\ud800", "<script>", "x" * 100_000, 7, None)
            ),
        ]
    )
}


def _is_recorded(value):
    return {"name": "x", **value}


RESULTS = {RUN: "json", FOUND: "json", SUMMARY: "json", WORDS: "lines"}


def _of_results(name, read, nasty, **more):
    return Kind(
        name,
        _results,
        read,
        RESULTS,
        nasty,
        reformatted=(RUN, FOUND, SUMMARY),
        named=("found", "a.tiff"),
        fresh=True,
        names_files=True,
        reader=True,
        **more,
    )


KINDS = [
    _of_results("results viewed", _viewed, NASTY | OF_WORDS),
    _of_results("results scored", _scored, NASTY, share=0.6),
    _of_results("next fields", _next, NASTY, share=0.7),
    _of_results("corrections written", _corrected, NASTY | OF_WORDS, share=0.8),
    Kind(
        "corrections file",
        _results,
        _words,
        {WORDS: "lines"},
        OF_WORDS,
        fresh=True,
        named=("found", "a.tiff"),
        share=0.6,
    ),
]
