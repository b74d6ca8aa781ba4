"""Annotation files of all tools, as ``mhkd tile``, ``score`` and ``view`` read them."""

import json
import struct
import zlib

from mhkd.annotations import ClassMap, read_annotations
from mhkd.slides.slide import Slide

import numpy as np
from _kinds import Kind
from annotations import writers
from annotations.writers import BOX, GLOMERULUS, RING, SIZE_PX
from ndpi_slide import write_ndpi

SHAPES = [(GLOMERULUS, "normal"), (RING, "sclerotic"), (BOX, "normal")]
OUTSIDE_XML = '<!DOCTYPE a [<!ENTITY x SYSTEM "{}">]>'
LAUGHS = '<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {chr(b + 1)} "{f"&{chr(b)};" * 10}">' for b in range(ord("a"), ord("k"))
)


def read(slide=None, **more):
    def reads():
        found = read_annotations(
            FILE, slide and Slide(slide), slide_name="slide", size_px=SIZE_PX, point_diameter_px=9.0, **more
        )
        for one in found:
            assert one.geometry.is_valid and one.geometry.area > 0 and np.isfinite(one.geometry.bounds).all()
            assert one.name is None or isinstance(one.name, str)
        ClassMap().apply(found)
        return [
            [a.name, a.iscrowd, np.round(a.geometry.bounds, 3).tolist(), round(a.geometry.area, 2)]
            for a in found
        ]

    return reads


FILE = "slide.any"


def chunk(kind, data):
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zipped(mib, begin=b"\0"):
    """Zeros, of which few bytes remain."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(int(mib) + 1)) + packer.flush()


def png(width, height, rows=b"", colour=0, more=b"", depth=8, packed=None):
    """A PNG of any claimed size.

    Args:
        rows: its pixels, each row after a 0; or ``packed``, the same compressed.
        colour: 0: grey, 2: RGB, 3: of a palette, 6: RGBA.
        more: chunks before the pixels.
    """
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(rows, 9) if packed is None else packed
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), more, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    )


def _written(write, path=FILE):
    return lambda folder: write(folder / path)


def _put(content, path=FILE):
    """A nasty file that is written as it stands."""

    def put(folder):
        data = content() if callable(content) else content
        data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        (folder / path).write_bytes(data)

    return put


def _feature(coordinates, kind="Polygon", **properties):
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": properties,
    }


SQUARE = [[[10, 10], [90, 10], [90, 90], [10, 90], [10, 10]]]
OF_JSON = {
    "deep lists": _put('{"features": ' + "[" * 200_000),
    "deep objects": _put('{"features": ' * 100_000),
    "a number without end": _put('{"type": "FeatureCollection", "features": [1' + "0" * 1_000_000 + "]}"),
    "half a character": _put(
        json.dumps([_feature(SQUARE, classification={"name": "\ud800\u0000\n\x1b[2J"})])
    ),
    "a name of lines": _put(
        json.dumps([_feature([[["x"]]], classification={"name": "a\nb: \x1b[31m" * 50})])
    ),
    "a kind of lines": _put(json.dumps([_feature(SQUARE, "a\r\nb\x1b]0;x\x07")])),
    "collections in each other": _put(
        '[{"type": "Feature", "geometry": '
        + '{"type": "GeometryCollection", "geometries": [' * 300
        + "]}" * 300
        + "}]"
    ),
    "many points that cross": _put(
        json.dumps([_feature([np.random.default_rng(1).uniform(0, 900, (20_000, 2)).tolist()])])
    ),
    "utf-7": _put("+AHsAfQ-"),
    "nothing but marks": _put(b"\xff\xfe\x00\x00"),
    "a pipe": lambda folder: _pipe(folder / FILE),
    "a link outside": lambda folder: _link(folder / FILE, "../outside/none.json"),
    "a folder": lambda folder: _folder(folder / FILE),
    "keys twice": _put('{"type": "FeatureCollection", "features": [], "features": 7}'),
    "a star": _put(json.dumps([_feature([[[450, 350], [1e308, 1e308], [-1e308, 1e308]]])])),
}


def _pipe(path):
    import os

    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _link(path, target):
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()


def of_xml(root):
    return {
        "billion laughs": _put(f"<!DOCTYPE a [{LAUGHS}]><{root}>&k;</{root}>"),
        "quadratic": _put(f'<!DOCTYPE a [<!ENTITY x "{"y" * 100_000}">]><{root}>{"&x;" * 10_000}</{root}>'),
        "a file outside": _put(OUTSIDE_XML.format("../outside/secret.txt") + f"<{root}>&x;</{root}>"),
        "a file by address": _put(OUTSIDE_XML.format("file:///etc/passwd") + f"<{root} a='1'>&x;</{root}>"),
        "an address": _put(OUTSIDE_XML.format("http://127.0.0.1:9/x") + f"<{root}>&x;</{root}>"),
        "a type by address": _put(f'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><{root}/>'),
        "parameter entities": _put(
            f'<!DOCTYPE a [<!ENTITY % x SYSTEM "../outside/secret.txt"> %x;]><{root}></{root}>'
        ),
        "inclusion": _put(
            f'<{root} xmlns:xi="http://www.w3.org/2001/XInclude">'
            f'<xi:include href="../outside/secret.txt"/></{root}>'
        ),
        "a style": _put(f'<?xml-stylesheet href="../outside/secret.txt"?><{root}></{root}>'),
        "deep": _put(f"<{root}>" + "<Annotation>" * 200_000),
        "many attributes": _put(f"<{root} " + " ".join(f"a{k}='1'" for k in range(100_000)) + f"></{root}>"),
        "a long name": _put(f"<{root}><{'x' * 3_000_000} a='\n'/></{root}>"),
        "another encoding": _put(f'<?xml version="1.0" encoding="utf-7"?><{root}/>'),
        "utf-16 that is none": _put(b"\xff\xfe" + f"<{root}/>".encode() + b"\xd8\x00"),
    }


def _labelme(path):
    points = [[10.5, 20.0], [100.0, 25.0], [90.0, 120.0]]
    shapes = [
        {"label": "normal", "points": points, "shape_type": "polygon", "group_id": None, "flags": {}},
        {"label": "sclerotic", "points": [[200, 200], [260, 290]], "shape_type": "rectangle"},
        {"label": "normal", "points": [[400, 400], [430, 400]], "shape_type": "circle"},
    ]
    content = {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": "slide.png",
        "imageData": None,
        "imageHeight": SIZE_PX[1],
        "imageWidth": SIZE_PX[0],
    }
    path.write_text(json.dumps(content))


def _yolo(folder):
    (folder / FILE).write_text("0 0.2 0.2 0.1 0.1\n1 0.5 0.5 0.6 0.5 0.6 0.7 0.5 0.7\n0 0.8 0.3 0.05 0.07\n")
    (folder / "data.yaml").write_text("names:\n  0: normal\n  1: sclerotic\nnc: 2\n")


def _jsonl(path):
    rings = [[[10, 20], [100, 25], [90, 120], [10, 20]]]
    tiles = [
        {"id": i, "annotations": [{"type": t, "coordinates": rings} for t in ("glomerulus", "blood_vessel")]}
        for i in ("slide", "other")
    ]
    path.write_text("".join(json.dumps(tile) + "\n" for tile in tiles))


def _ndpa(folder):
    point = "<point><x>{}</x><y>{}</y></point>"
    outline = "".join(
        point.format(900_000 + x * 500, -2_037_500 + y * 250) for x, y in ((100, 50), (140, 50), (140, 90))
    )
    views = "".join(
        f'<ndpviewstate id="{k}"><title>{title}</title><details/>'
        "<coordformat>nanometers</coordformat><lens>40</lens>"
        f'<annotation type="{kind}" displayname="A" color="#ff0000">{content}</annotation></ndpviewstate>'
        for k, (title, kind, content) in enumerate(
            (
                ("normal", "freehand", f"<closed>1</closed><pointlist>{outline}</pointlist>"),
                ("sclerotic", "circle", "<x>1000000</x><y>-2000000</y><radius>5000</radius>"),
            )
        )
    )
    (folder / FILE).write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{views}</annotations>')
    write_ndpi(folder / "slide.ndpi", (400, 300), offset_nm=(1_000_000, -2_000_000))


OF_IMAGE = {
    "a bomb": _put(lambda: png(60_000, 60_000, packed=zipped(3500))),
    "claims of 2^31": _put(png(2**31 - 1, 2**31 - 1, b"\0" * 1000)),
    "no width": _put(png(0, 10)),
    "another size": _put(png(33, 44, (b"\0" + b"\1" * 33) * 44)),
    "a bomb of rows": _put(lambda: png(1, 50_000_000, packed=zipped(95))),
    "16 bits": _put(lambda: png(900, 700, (b"\0" + b"\0\1" * 900) * 700, depth=16)),
    "a palette without one": _put(lambda: png(900, 700, (b"\0" + b"\1" * 900) * 700, 3)),
    "a pipe": lambda folder: _pipe(folder / FILE),
}


def _mask(suffix):
    def write(folder):
        drawn = folder / f"drawn{suffix}"
        writers.mask(drawn, SHAPES, SIZE_PX, {"normal": 1, "sclerotic": 2})
        drawn.rename(folder / FILE)

    return write


def _kind(name, write, structure, nasty, **more):
    write = write if more.pop("whole", False) else _written(write)
    more.setdefault("files", {FILE: structure})
    return Kind(f"annotations {name}", write, more.pop("read", read()), nasty=nasty, **more)


KINDS = [
    _kind("geojson", lambda p: writers.qupath(p, SHAPES), "json", OF_JSON, reformatted=(FILE,)),
    _kind("dsa", lambda p: writers.dsa(p, SHAPES), "json", OF_JSON, share=0.7),
    _kind("dsa geojson", lambda p: writers.dsa_geojson(p, SHAPES), "json", {}, share=0.5),
    _kind("coco", lambda p: writers.coco(p, SHAPES, SIZE_PX), "json", OF_JSON),
    _kind("labelme", _labelme, "json", OF_JSON, share=0.7),
    _kind("aperio", lambda p: writers.aperio(p, SHAPES), "text", of_xml("Annotations")),
    _kind("halo", lambda p: writers.halo(p, SHAPES), "text", {}, share=0.4),
    _kind("asap", lambda p: writers.asap(p, SHAPES), "text", of_xml("ASAP_Annotations"), share=0.7),
    _kind(
        "ndpa",
        _ndpa,
        "text",
        of_xml("annotations"),
        whole=True,
        reader=True,
        read=read("slide.ndpi"),
        share=0.5,
    ),
    _kind(
        "hubmap csv",
        lambda p: writers.hubmap_csv(p, {"slide": writers.draw(RING, SIZE_PX)}),
        "text",
        {
            "a million runs": _put(
                lambda: "id,encoding\nslide," + " ".join(f"{k} 1" for k in range(1, 600_000, 2)) + "\n"
            ),
            "one run of all": _put(f"id,encoding\nslide,1 {900 * 700}\n"),
            "numbers without end": _put("id,encoding\nslide,1 " + "9" * 100_000 + "\n"),
            "a quote without end": _put('id,encoding\nslide,"' + "1 1 " * 400_000),
            "nulls": _put(b"id,encoding\nslide,1\x00 1\n"),
            "negative": _put("id,encoding\nslide,-5 10 3 -1\n"),
        },
    ),
    _kind(
        "hubmap jsonl",
        _jsonl,
        "lines",
        {
            "deep": _put('{"id": "slide", "annotations": ' + "[" * 200_000),
            "an id of lines": _put(
                '{"id": "slide", "annotations": [{"type": "a\\nb", "coordinates": {"\\n": 1}}]}'
            ),
            "nothing in it": _put('{"id": "slide", "annotations": []}\n' * 2),
        },
    ),
    _kind(
        "yolo",
        _yolo,
        "text",
        {
            "names that run": _put("names: !!python/object/apply:os.system [touch RAN]", "data.yaml"),
            "names of names": _put(
                "a: &a [x,x,x,x,x,x,x,x,x]\n"
                + "".join(
                    f"{chr(k + 1)}: &{chr(k + 1)} [{','.join([f'*{chr(k)}'] * 9)}]\n"
                    for k in range(ord("a"), ord("i"))
                )
                + "names: *i\n",
                "data.yaml",
            ),
            "a name of lines": _put('names: {0: "a\\nb\\x1b[2J", 1: x}', "data.yaml"),
            "a long line": _put("0 " + "0.5 " * 2_000_000),
            "a class of lines": _put("nan 0.5 0.5 0.1 0.1"),
        },
        whole=True,
        files={FILE: "text", "data.yaml": "yaml"},
        share=0.8,
    ),
    _kind("png mask", _mask(".png"), None, OF_IMAGE, whole=True),
    _kind("tiff mask", _mask(".tif"), None, {}, whole=True, share=0.8),
]


def _read_class_map():
    found = ClassMap.parse((), "map.yaml", ("normal", "sclerotic"))
    return sorted(found.mapping.items())


KINDS.append(
    Kind(
        "class map",
        lambda folder: (folder / "map.yaml").write_text(
            "GS: sclerotic\nnormal: normal\nother: null\n1: normal\n"
        ),
        _read_class_map,
        {"map.yaml": "yaml"},
        {
            "runs": _put("a: !!python/object/apply:os.system [touch RAN]\n", "map.yaml"),
            "a tag of its own": _put("a: !x y\n", "map.yaml"),
            "deep": _put("a: " + "[" * 100_000, "map.yaml"),
            "a merge of itself": _put("&a a: {<<: *a}\n", "map.yaml"),
            "dates": _put("2001-01-01: 0002-13-45\n", "map.yaml"),
        },
        share=0.4,
    )
)
