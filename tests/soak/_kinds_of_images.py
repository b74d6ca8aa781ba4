"""Images that are files, of the formats that datasets have."""

from mhkd.slides.images import check_whole, image_size, read_rgb

import numpy as np
from _kinds import Kind
from _kinds_of_annotations import _folder, _link, _pipe, _put, chunk, png, zipped
from PIL import Image


def _read_image():
    size, pixels = image_size("a.img"), read_rgb("a.img")
    check_whole("a.img")
    assert pixels.dtype == np.uint8 and pixels.shape == (size[1], size[0], 3)
    return [list(size), int(pixels.astype(np.int64).sum())]


def _images(folder_kind):
    def write(folder):
        noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
        Image.fromarray(noise).save(folder / "a.img", folder_kind)

    return write


IMAGES = {
    "a bomb": _put(png(60_000, 60_000, bytes(1_000_000)), "a.img"),
    "claims of 2^31": _put(png(2**31 - 1, 2**31 - 1, b"\0" * 99), "a.img"),
    "a narrow bomb": _put(png(1, 80_000_000, b"\0\1" * 500_000), "a.img"),
    "a bomb of text": _put(
        lambda: png(50, 40, bytes(151 * 40), 2, chunk(b"zTXt", b"a\0\0" + zipped(400))), "a.img"
    ),
    "a bomb of a profile": _put(
        lambda: png(50, 40, bytes(151 * 40), 2, chunk(b"iCCP", b"a\0\0" + zipped(400))), "a.img"
    ),
    "a bomb of few bytes": _put(lambda: png(13_400, 13_400, colour=6, packed=zipped(690)), "a.img"),
    "a gif of 65535": _put(
        b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x08\x00\x00;", "a.img"
    ),
    "postscript": _put(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 40\n(RAN) (w) file closefile\n", "a.img"
    ),
    "a bmp of 2^31": _put(
        b"BM" + b"\0" * 12 + (40).to_bytes(4, "little") + b"\xff\xff\xff\x7f" * 2 + b"\1\0\x18\0" + bytes(24),
        "a.img",
    ),
    "an icon": _put(b"\0\0\1\0\xff\xff" + b"\0" * 100, "a.img"),
    "svg": _put(
        '<svg xmlns="http://www.w3.org/2000/svg"><image href="../outside/secret.png"/></svg>', "a.img"
    ),
    "a pipe": lambda folder: _pipe(folder / "a.img"),
    "a device": lambda folder: _link(folder / "a.img", "/dev/zero"),
    "a folder": lambda folder: _folder(folder / "a.img"),
    "tiff that refers to itself": _put(b"II*\0\x08\0\0\0\1\0\0\1\3\0\1\0\0\0\x0a\0\0\0\x08\0\0\0", "a.img"),
}

KINDS = [
    *(
        Kind(
            f"image {kind}",
            _images(kind),
            _read_image,
            {"a.img": None},
            IMAGES if kind == "PNG" else {},
            share=0.6,
        )
        for kind in ("PNG", "JPEG", "TIFF")
    ),
]
