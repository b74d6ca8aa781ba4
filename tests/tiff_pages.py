"""TIFFs of tiles of a drawn picture, page by page, and one number of theirs changed."""

from mhkd.slides import tiff

import _tiff_writer as writer
import cv2
import numpy as np

NOISE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (300, 420, 3), np.uint8), (0, 0), 3)
RGB = cv2.normalize(NOISE, None, 0, 255, cv2.NORM_MINMAX)
TILE_PX = 64


def page(picture, mpp=0.5, codec="deflate", subfile=0, empty=()):
    """Of tiles, those with a number in ``empty`` without bytes."""
    tags = writer.page_tags(picture.shape[1::-1], (TILE_PX, TILE_PX), codec, mpp=mpp, subfile=subfile)
    pieces = [writer.encode(t, codec) for t in writer.cut(picture, (TILE_PX, TILE_PX))]
    return {"tags": tags, "tiled": True, "pieces": [None if k in empty else p for k, p in enumerate(pieces)]}


def level(downsample, **options):
    size = (RGB.shape[1] // downsample, RGB.shape[0] // downsample)
    return page(cv2.resize(RGB, size, interpolation=cv2.INTER_AREA), subfile=1, **options)


def write(folder, *pages, **options):
    path = folder / "a.tiff"
    writer.write(path, pages, **options)
    return path


def edit(path, tag, values, number=0):
    """Overwrite the first values of a tag of a page."""
    content, place = bytearray(path.read_bytes()), tiff.read_pages(path)[number].place[0]
    count = int.from_bytes(content[place : place + 2], "little")
    entry = next(
        e for k in range(count) if content[(e := place + 2 + 12 * k) : e + 2] == tag.to_bytes(2, "little")
    )
    width = {3: 2, 4: 4}[content[entry + 2]]
    at = entry + 8
    if width * int.from_bytes(content[entry + 4 : entry + 8], "little") > 4:
        at = int.from_bytes(content[at : at + 4], "little")
    for k, value in enumerate(values):
        content[at + k * width : at + (k + 1) * width] = value.to_bytes(width, "little")
    path.write_bytes(content)
    return path
