"""Sound slides of odd layouts, drawn at random, and the pixels that are in them."""

from dataclasses import dataclass, field

from mhkd.slides.block_mean import block_mean

import _tiff_writer as writer
import cv2
import numpy as np
import pyvips
from _slide_sources import MPP, OME, SVS, draw
from _slide_worker import VIEWS

TILES_PX = [(48, 48), (64, 64), (128, 96), (240, 240), (256, 256), (512, 128), (16, 400), (1008, 304)]
DOWNSAMPLES = [(1,), (1, 2), (1, 4), (1, 2, 4), (1, 4, 16), (1, 3), (1, 8), (1, 2, 4, 8, 16), (1, 2, 16)]
ROUNDINGS = {"floor": np.floor, "ceil": np.ceil, "round": np.round}
MIN_LEVEL_PX = 8


@dataclass
class Odd:
    """A slide, what it is, and what must be read of it."""

    path: str
    layout: dict = field(default_factory=dict)
    size_px: tuple[int, int] = (0, 0)
    mpp: tuple[float, float] = (MPP, MPP)
    given_mpp: float | None = None
    views: dict = field(default_factory=dict)


def make(folder, rng):
    """Write one."""
    odd = Odd(str(folder / "odd.tiff"))
    size = tuple(int(n) for n in rng.integers(*((40, 300) if rng.integers(3) else (300, 1000)), 2))
    picture = draw(*size, int(rng.integers(20)))
    write = _by_vips if rng.integers(4) == 0 else _by_hand
    seen = write(odd, picture, rng)
    odd.size_px = size
    odd.views = {"high": seen} | {name: _smaller(seen, f) for name, f in VIEWS.items() if f > 1}
    return odd


def _smaller(picture, factor):
    """By whole blocks; the views leave out what is no whole output pixel."""
    height, width = picture.shape[:2]
    h, w = max(1, height // factor), max(1, width // factor)
    padded = np.pad(
        picture,
        ((0, max(0, h * factor - height)), (0, max(0, w * factor - width)), (0, 0)),
        constant_values=255,
    )
    return block_mean(np.ascontiguousarray(padded[: h * factor, : w * factor]), (w, h))


def _pick(rng, items):
    return items[int(rng.integers(len(items)))]


def _by_vips(odd, picture, rng):
    """As libvips writes them."""
    lossless = ["deflate", "lzw", "none", "packbits"]
    options = {"compression": _pick(rng, ["jpeg", *lossless]), "bigtiff": bool(rng.integers(2))}
    options["tile"] = bool(rng.integers(4))
    if options["tile"]:
        most = -(-np.array(picture.shape[1::-1]) // 16)  # it reads no tiles much larger than the page
        tile = 16 * np.minimum(rng.integers(1, 20, 2), most)
        options |= {"tile_width": int(tile[0]), "tile_height": int(tile[1])}
        options["pyramid"] = bool(rng.integers(3))
        if options["pyramid"]:
            options["depth"] = _pick(rng, ["onetile", "onepixel"])
            options["subifd"] = not rng.integers(4)
    elif options["compression"] == "jpeg":
        options["compression"] = "deflate"
    if options["compression"] in ("deflate", "lzw"):
        options["predictor"] = _pick(rng, ["none", "horizontal"])
    words = _pick(rng, [None, "drawn", OME, SVS])
    image = pyvips.Image.new_from_array(picture).copy(xres=1000 / MPP, yres=1000 / MPP, interpretation="srgb")
    if words:
        image.set_type(pyvips.GValue.gstr_type, "image-description", words.format(*picture.shape[1::-1]))
    image.tiffsave(odd.path, resunit="cm", Q=90, **options)
    odd.layout = options | {"words": (words or "")[:6]}
    if options["compression"] != "jpeg":
        return picture
    return pyvips.Image.new_from_file(odd.path)[:3].numpy()


def _by_hand(odd, picture, rng):
    """As the format allows."""
    kind = _pick(rng, ["generic", "generic", "svs", "svs", "ome"])
    tiled = kind == "svs" or rng.integers(5) > 0
    codecs = ["jpeg", "jpeg", "deflate", "j2k" if kind == "svs" else "none"]
    codec = _pick(rng, codecs if tiled else ["deflate", "none"])
    channels = _pick(rng, [3, 3, 3, 3, 1, 4]) if codec in ("deflate", "none") and kind == "generic" else 3
    may_be_apart = channels == 3 and codec in ("deflate", "none") and kind == "generic"
    planar = 2 if may_be_apart and not rng.integers(6) else 1
    unit = _pick(rng, TILES_PX) if tiled else (picture.shape[1], int(rng.integers(1, picture.shape[0] + 1)))
    rounding = _pick(rng, list(ROUNDINGS))
    downsamples = _pick(rng, DOWNSAMPLES) if tiled and planar == 1 else (1,)
    resolution = _pick(rng, ["own", "own", "copied", "print", "base only", "none"])
    if channels == 1:
        picture = np.repeat(picture[..., 1:2], 3, 2)
    odd.layout = {
        "kind": kind, "tiled": bool(tiled), "codec": codec, "channels": channels, "planar": planar,
        "unit_px": unit, "downsamples": downsamples, "rounding": rounding, "resolution": resolution,
        "blank": _pick(rng, ["stored", "no place", "no bytes", "shared"]),
        "sparse": not rng.integers(5), "thumbnail": bool(rng.integers(2)),
    }  # fmt: skip
    pages, seen = [], None
    for k, d in enumerate(downsamples):
        size = [int(max(1, ROUNDINGS[rounding](n / d))) for n in picture.shape[1::-1]]
        if k and min(size) < MIN_LEVEL_PX:
            break
        level = picture if not k else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        print_mpp = 352.8 if k else MPP
        mpps = {
            "own": MPP * d,
            "copied": MPP,
            "print": print_mpp,
            "base only": None if k else MPP,
            "none": None,
        }
        words, subfile = _words(kind, k, picture.shape[1::-1], size, unit), int(k > 0 and kind != "svs")
        mpp = mpps[resolution]
        tags = writer.page_tags(size, unit, codec, channels, tiled, mpp, words, subfile, planar)
        page, decoded = _page(level, tags, odd.layout, rng, k)
        seen = decoded if seen is None else seen
        pages.append(page)
    if odd.layout["thumbnail"] and tiled and channels == 3:
        small = cv2.resize(picture, (37, 29), interpolation=cv2.INTER_AREA)
        tags = writer.page_tags((37, 29), (37, 8), "deflate", tiled=False, subfile=1)
        if kind == "svs":
            tags[270] = (writer.ASCII, b"Aperio Image Library v11.2.1 \nlabel 37x29\0")
        pieces = [writer.encode(p, "deflate") for p in writer.cut(small, (37, 8), False)]
        pages.insert(int(rng.integers(1, len(pages) + 1)), {"tags": tags, "tiled": False, "pieces": pieces})
    file = {
        "big": bool(rng.integers(2)), "order": _pick(rng, "<" if kind == "svs" else "<<>"),
        "directories_first": bool(rng.integers(2)), "gap": int(_pick(rng, [0, 0, 3, 14])),
        "trailer": bytes(int(_pick(rng, [0, 0, 5, 2000]))),
    }  # fmt: skip
    odd.layout |= {k: v for k, v in file.items() if k != "trailer"}
    writer.write(odd.path, pages, shuffle=rng if rng.integers(2) else None, **file)
    recorded = kind in ("svs", "ome") or resolution != "none"
    odd.given_mpp = None if recorded else MPP
    return seen


def _words(kind, level, base_px, size_px, tile_px):
    if kind == "ome":
        return None if level else OME.format(*base_px)
    if kind != "svs":
        return None
    if not level:
        return SVS.format(*base_px).replace("240x240", "{}x{}".format(*tile_px))
    return "Aperio Image Library v11.2.1\r\n{}x{} ({}x{}) -> {}x{}".format(*base_px, *tile_px, *size_px)


def _page(level, tags, layout, rng, number):
    """A page, and what is read of it."""
    codec, channels, tiled = layout["codec"], layout["channels"], layout["tiled"]
    stored = level
    if channels == 1:
        stored = level[..., :1]
    elif channels == 4:
        stored = np.dstack([level, np.full(level.shape[:2], 255, np.uint8)])
    planes = [stored] if layout["planar"] == 1 else [stored[..., k : k + 1] for k in range(3)]
    pieces, seen = [], [np.full(p.shape, 255, np.uint8) for p in planes]
    first_blank = None
    for plane, picture in zip(planes, seen, strict=True):
        columns = -(-level.shape[1] // layout["unit_px"][0])
        for k, piece in enumerate(writer.cut(plane, layout["unit_px"], tiled)):
            y, x = (n * u for n, u in zip(divmod(k, columns), layout["unit_px"][::-1]))
            blank = tiled and layout["planar"] == 1 and piece.min() == 255
            if blank and layout["blank"] in ("no place", "no bytes"):
                pieces.append(None if layout["blank"] == "no place" else "")
                continue
            if blank and layout["blank"] == "shared" and first_blank is not None:
                pieces.append(first_blank)
                continue
            if number and layout["sparse"] and layout["kind"] == "svs" and rng.integers(4) == 0:
                pieces.append(None)  # a scanner left it out; what is there is on another level
                continue
            data = writer.encode(piece, codec)
            if blank:
                first_blank = len(pieces)
            pieces.append(data)
            decoded = writer.decode(data, codec, piece.shape)
            part = picture[y : y + piece.shape[0], x : x + piece.shape[1]]
            part[:] = decoded[: part.shape[0], : part.shape[1]]
    page = {"tags": tags, "tiled": tiled, "pieces": pieces}
    if layout["blank"] == "shared" and first_blank is not None and rng.integers(2):
        page["counts_type"] = writer.LONG
    whole = np.concatenate(seen, axis=2)[..., :3]
    return page, np.repeat(whole, 3, 2) if channels == 1 else whole
