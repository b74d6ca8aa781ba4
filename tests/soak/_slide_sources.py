"""Sound slides for damaging: of every kind that the tests can write, and the real ones where they are."""

import functools
import tempfile
from pathlib import Path

from mhkd.synthetic.slides import write_tiff

import _tiff_writer as writer
import cv2
import numpy as np
import pyvips
from dicom_slide import write_level
from support import SHARED_DATA

MPP = 0.5
SVS = (
    "Aperio Image Library v11.2.1 \r\n{}x{} (240x240) JPEG/RGB Q=90|AppMag = 20|StripeWidth = 2040|"
    "ScanScope ID = SS1302|Filename = drawn|MPP = 0.5000|Left = 25.6|Top = 23.4"
)
OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="{}" SizeY="{}" '
    'SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="0.5" PhysicalSizeXUnit="µm" PhysicalSizeY="0.5" '
    'PhysicalSizeYUnit="µm"><Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData/></Pixels></Image></OME>'
)


def draw(width, height, seed=0):
    """Tissue with dark disks on white glass, without hard edges: uint8 RGB (height, width, 3)."""
    rng = np.random.default_rng(seed)
    texture = rng.normal((200, 140, 185), 60, (height // 8 + 2, width // 8 + 2, 3))
    texture = cv2.resize(texture, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 245)
    tissue = np.zeros((height, width), np.float64)
    axes = (max(int(width * 0.42), 1), max(int(height * 0.4), 1))
    cv2.ellipse(tissue, (width // 2, height // 2), axes, 20, 0, 360, 1, -1)
    for _ in range(max(1, width * height // 40_000)):
        middle = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(texture, middle, 28, (90, 40, 120), -1)
    sharp = np.where(tissue[..., None] > 0, texture, 255).astype(np.uint8)
    return cv2.GaussianBlur(sharp, (0, 0), 4)


def _vips(path, rgb, description=None, **options):
    image = pyvips.Image.new_from_array(rgb).copy(xres=1000 / MPP, yres=1000 / MPP, interpretation="srgb")
    if description:
        image.set_type(pyvips.GValue.gstr_type, "image-description", description)
    image.tiffsave(
        str(path), resunit="cm", **{"tile": True, "tile_width": 128, "tile_height": 128, **options}
    )


def _drawn(path):
    write_tiff(path, draw(1101, 830), MPP, "drawn")


def _vips_kind(name, **options):
    def write_it(path):
        description = {"ome": OME, "svs": SVS}.get(name, "").format(901, 700)
        _vips(path, draw(901, 700, 1), description, **options)

    return write_it


def _one_level_svs(path):
    _vips(
        path,
        draw(901, 700, 2),
        SVS.format(901, 700),
        compression="jpeg",
        Q=85,
        tile_width=240,
        tile_height=240,
    )


def _svs(path):
    """As Aperio writes them: base, thumbnail in strips, smaller levels, label, macro."""
    rgb = draw(1150, 940, 3)
    text = SVS.format(1150, 940)

    def page(picture, tile, codec, description, subfile=0):
        size = picture.shape[1::-1]
        tiled = tile is not None
        unit = (tile, tile) if tiled else (size[0], 16)
        tags = writer.page_tags(size, unit, codec, tiled=tiled, description=description, subfile=subfile)
        pieces = [writer.encode(p, codec) for p in writer.cut(picture, unit, tiled)]
        return {"tags": tags, "tiled": tiled, "pieces": pieces}

    def smaller(size):
        return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)

    writer.write(
        path,
        [
            page(rgb, 240, "jpeg", text),
            page(smaller((345, 282)), None, "jpeg", "Aperio Image Library v11.2.1 \n1150x940 -> 345x282 - "),
            page(
                smaller((287, 235)),
                240,
                "jpeg",
                "Aperio Image Library v11.2.1\r\n1150x940 (240x240) -> 287x235",
            ),
            page(
                smaller((71, 58)), 240, "jpeg", "Aperio Image Library v11.2.1\r\n1150x940 (240x240) -> 71x58"
            ),
            page(draw(120, 90, 9), None, "deflate", "Aperio Image Library v11.2.1 \nlabel 120x90", 1),
            page(draw(300, 100, 8), None, "jpeg", "Aperio Image Library v11.2.1 \nmacro 300x100", 9),
        ],
    )


def _own(codec, sizes, order="<", **options):
    """A pyramid of the writer of odd layouts."""

    def write_it(path):
        rgb = draw(*sizes[0], 4)
        pages = []
        for k, size in enumerate(sizes):
            picture = rgb if not k else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
            tags = writer.page_tags(
                size, (128, 96), codec, mpp=MPP * sizes[0][0] / size[0], subfile=min(k, 1)
            )
            pieces = [writer.encode(p, codec) for p in writer.cut(picture, (128, 96))]
            pages.append({"tags": tags, "tiled": True, "pieces": pieces})
        writer.write(path, pages, order=order, **options)

    return write_it


def _dicom(downsamples):
    """A series: a folder."""

    def write_it(path):
        path.mkdir()
        rgb = draw(960, 720, 5)
        for k, d in enumerate(downsamples):
            picture = cv2.resize(rgb, (960 // d, 720 // d), interpolation=cv2.INTER_AREA)
            frames = [writer.encode(p, "jpeg") for p in writer.cut(picture, (120, 120))]
            size = picture.shape[1::-1]
            write_level(path / f"{k}.dcm", frames, size, 120, (MPP * d, MPP * d), number=k + 1, base=not k)

    return write_it


def _copy(source):
    return lambda path: path.write_bytes(source.read_bytes())


PYRAMID = {"pyramid": True, "compression": "jpeg", "Q": 85}
# name: (what writes it, share of the cases). The first of each word is what it is read as.
WRITERS = {
    "drawn": (_drawn, 4),
    "svs": (_svs, 6),
    "svs_one_level": (_one_level_svs, 3),
    "svs_pyramid": (_vips_kind("svs", **PYRAMID), 3),
    "tiled_jpeg": (_vips_kind("tiled", **PYRAMID), 3),
    "tiled_deflate": (_vips_kind("tiled", pyramid=True, compression="deflate", predictor="horizontal"), 2),
    "tiled_lzw": (_vips_kind("tiled", compression="lzw"), 2),
    "tiled_plain": (_vips_kind("tiled", pyramid=True, compression="none"), 2),
    "tiled_plain_one_level": (_vips_kind("tiled", compression="none"), 1),
    "big_endian": (_own("deflate", [(800, 600), (200, 150)], order=">"), 2),
    "big": (_own("jpeg", [(800, 600), (400, 300), (100, 75)], big=True, directories_first=True), 2),
    "ome": (_vips_kind("ome", **PYRAMID), 5),
    "ome_one_level": (_vips_kind("ome", compression="deflate"), 3),
    "strips": (_vips_kind("tiled", tile=False, compression="lzw"), 1),
    "strips_plain": (_vips_kind("tiled", tile=False, compression="none"), 1),
    "dicom": (_dicom([1, 4, 8]), 4),
    "dicom_one_level": (_dicom([1]), 2),
}
_SHARED = {
    "real_cmu": (SHARED_DATA / "slides" / "cmu-1-small-region.svs", 2),
    "real_tcga": (SHARED_DATA / "slides" / "tcga-cr-7395-01a-01-ts1.svs", 0.5),
    "real_case": (SHARED_DATA.parent / "cases" / "qupath_name" / "s.tiff", 2),
}
REAL = {name: (_copy(path), share) for name, (path, share) in _SHARED.items() if path.exists()}
NO_MPP = {"real_tcga"}


@functools.cache
def folder():
    """Where sources are kept, for as long as this process is there."""
    keep = tempfile.TemporaryDirectory(prefix="mhkd_sources_")
    _kept.append(keep)
    return Path(keep.name)


_kept = []


@functools.cache
def source(name):
    """The path of a sound slide."""
    path = folder() / (name if name.startswith("dicom") else f"{name}.tiff")
    ({**WRITERS, **REAL}[name])[0](path)
    return path
