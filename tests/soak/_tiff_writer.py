"""Writes a TIFF of any layout that the format allows, from pieces that are compressed already."""

import io
import struct
import zlib

import numpy as np
import simplejpeg
from PIL import Image

SHORT, LONG, RATIONAL, ASCII, UNDEFINED, LONG8 = 3, 4, 5, 2, 7, 16
_CODES = {SHORT: "H", LONG: "I", RATIONAL: "I", LONG8: "Q"}
COMPRESSION = {"none": 1, "jpeg": 7, "deflate": 8, "j2k": 33005}


def encode(pixels, codec, quality=90):
    """A piece, uint8 (h, w, channels), compressed."""
    pixels = np.ascontiguousarray(pixels)
    if codec == "jpeg":
        grey = pixels.shape[2] == 1
        return simplejpeg.encode_jpeg(pixels, quality, "GRAY" if grey else "RGB", "GRAY" if grey else "420")
    if codec == "j2k":
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG2000", no_jp2=True, irreversible=False)
        return file.getvalue()
    return zlib.compress(pixels.tobytes(), 1) if codec == "deflate" else pixels.tobytes()


def decode(data, codec, shape):
    """What it is when read."""
    if codec == "jpeg":
        return simplejpeg.decode_jpeg(data, "GRAY" if shape[2] == 1 else "RGB").reshape(shape)
    if codec == "j2k":
        return np.asarray(Image.open(io.BytesIO(data)))
    return np.frombuffer(zlib.decompress(data) if codec == "deflate" else data, np.uint8).reshape(shape)


def cut(picture, piece_px, tiled=True):
    """Pieces of a picture (h, w, c), row by row: tiles padded with white, or strips that end with it."""
    height, width = picture.shape[:2]
    across, down = piece_px
    for y in range(0, height, down):
        for x in range(0, width, across):
            piece = picture[y : y + down, x : x + across]
            missing = (down - piece.shape[0], across - piece.shape[1]) if tiled else (0, 0)
            yield np.pad(piece, ((0, missing[0]), (0, missing[1]), (0, 0)), constant_values=255)


def write(path, pages, big=False, order="<", directories_first=False, shuffle=None, gap=0, trailer=b""):
    """Write pages, each {"tags": {tag: (type, values)}, "tiled": bool, "pieces": [...]}.

    Args:
        path: where to.
        pages: a piece is bytes; None, which has neither bytes nor a place; "" (no bytes, but a place); or the
            number of an earlier one of the page whose bytes it shares.
        big: BigTIFF.
        order: "<" or ">".
        directories_first: the pages are before all pieces.
        shuffle: np.random.Generator that puts the pieces into any order.
        gap: bytes between pieces.
        trailer: bytes after the end.
    """
    word, entry_bytes, head = (8, 20, 8) if big else (4, 12, 2)
    file, end = {}, [16 if big else 8]

    def place(data, align=2):
        end[0] += -end[0] % align
        at = end[0]
        file[at] = data
        end[0] += len(data)
        return at

    def put_pieces(page):
        n = len(page["pieces"])
        page["offsets"], page["counts"] = [0] * n, [0] * n
        for k in shuffle.permutation(n) if shuffle is not None else range(n):
            piece = page["pieces"][k]
            if piece is not None and not isinstance(piece, int):
                page["offsets"][k], page["counts"][k] = place(piece or b""), len(piece)
                end[0] += gap
        for k, piece in enumerate(page["pieces"]):
            if isinstance(piece, int):
                page["offsets"][k], page["counts"][k] = page["offsets"][piece], page["counts"][piece]

    def sized(page):
        """Tags with offsets and counts of pieces, whose types do not depend on the values."""
        tags, places = dict(page["tags"]), (324, 325) if page["tiled"] else (273, 279)
        n = len(page["pieces"])
        tags[places[0]] = (LONG8 if big else LONG, page.get("offsets", [0] * n))
        tags[places[1]] = (page.get("counts_type", LONG), page.get("counts", [0] * n))
        return dict(sorted(tags.items()))

    def put_values(page):
        page["places"] = {}
        for tag, (kind, values) in sized(page).items():
            data = _packed(kind, values, order)
            if len(data) > word:
                page["places"][tag] = place(data, word)
        page["at"] = place(bytes(head + entry_bytes * len(sized(page)) + word), word)

    first, second = (put_values, put_pieces) if directories_first else (put_pieces, put_values)
    if directories_first:
        for step in (first, second):
            for page in pages:
                step(page)
    else:
        for page in pages:
            first(page)
            second(page)
    for k, page in enumerate(pages):
        entries = []
        for tag, (kind, values) in sized(page).items():
            data = _packed(kind, values, order)
            count = len(data) if kind in (ASCII, UNDEFINED) else len(values) // (2 if kind == RATIONAL else 1)
            if tag in page["places"]:
                file[page["places"][tag]] = data
                data = struct.pack(order + ("Q" if big else "I"), page["places"][tag])
            entries.append(
                struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, count) + data.ljust(word, b"\0")
            )
        after = pages[k + 1]["at"] if k + 1 < len(pages) else 0
        file[page["at"]] = (
            struct.pack(order + ("Q" if big else "H"), len(entries)) + b"".join(entries)
            + struct.pack(order + ("Q" if big else "I"), after)
        )  # fmt: skip
    mark = b"II" if order == "<" else b"MM"
    start = struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0) if big else (42,)), pages[0]["at"])
    content = bytearray(end[0])
    content[: len(mark + start)] = mark + start
    for at, data in file.items():
        content[at : at + len(data)] = data
    with open(path, "wb") as f:
        f.write(content + trailer)


def _packed(kind, values, order):
    if kind in (ASCII, UNDEFINED):
        return bytes(values)
    return struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)


def page_tags(
    size_px, piece_px, codec, channels=3, tiled=True, mpp=None, description=None, subfile=0, planar=1
):
    """The tags of a page but for those of its pieces."""
    photometric = {1: 1, 3: 6 if codec == "jpeg" else 2, 4: 2}[channels]
    tags = {
        254: (LONG, [subfile]), 256: (LONG, [size_px[0]]), 257: (LONG, [size_px[1]]),
        258: (SHORT, [8] * channels), 259: (SHORT, [COMPRESSION[codec]]), 262: (SHORT, [photometric]),
        277: (SHORT, [channels]), 284: (SHORT, [planar]),
    }  # fmt: skip
    if tiled:
        tags |= {322: (SHORT, [piece_px[0]]), 323: (SHORT, [piece_px[1]])}
    else:
        tags[278] = (LONG, [piece_px[1]])
    if photometric == 6:
        tags[530] = (SHORT, [2, 2])
    if channels == 4:
        tags[338] = (SHORT, [2])
    if mpp:
        tags |= {282: (RATIONAL, [round(1e7 / mpp), 1000]), 283: (RATIONAL, [round(1e7 / mpp), 1000])}
        tags[296] = (SHORT, [3])
    if description:
        tags[270] = (ASCII, description.encode() + b"\0")
    return tags
