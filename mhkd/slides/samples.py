"""What a TIFF's pixels must be, whichever reader is to read them.

Checked by hand because the readers do not refuse what they cannot show: they return wrong colours.
"""

import os
from collections.abc import Sequence

from ..errors import InputError
from . import tiff
from .tiff import TiffPage

_WHITE_IS_0, _BLACK_IS_0, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_COLOURS = {_WHITE_IS_0: 1, _BLACK_IS_0: 1, _RGB: 3, _PALETTE: 1, _YCBCR: 3}  # without extra samples
_KINDS = {_WHITE_IS_0: "grey", _BLACK_IS_0: "grey", _RGB: "RGB", _PALETTE: "a palette", _YCBCR: "YCbCr"}
_NAMES = {5: "CMYK", 8: "CIELab", 9: "CIELab", 10: "CIELab"}
_ALPHA = (1, 2)  # associated, unassociated
_YCBCR_CODECS = (6, 7, *tiff.JPEG_2000)  # JPEG and JPEG 2000 decode to RGB


def check_samples(
    path: str | os.PathLike[str], page: TiffPage, pages: Sequence[TiffPage], channels: int | None = None
) -> bool:
    """Refuse what would come out in wrong colours, or as one channel of several.

    Args:
        path: file.
        page: the page that is read.
        pages: all of the file.
        channels: how many its OME-XML tells of.

    Returns:
        Whether the last sample is neither colour nor alpha, so that it is to be left out.

    Raises:
        InputError: the page is not 8-bit RGB, YCbCr of a codec, grey or palette, with alpha or without.
    """
    photometric = page.first(tiff.PHOTOMETRIC, _BLACK_IS_0)
    bits = {int(b) for b in page.tags.get(tiff.BITS, [1])}
    formats = {int(f) for f in page.tags.get(tiff.SAMPLE_FORMAT, [1])}
    extra = page.samples - _COLOURS.get(photometric, page.samples)
    if photometric in (_WHITE_IS_0, _BLACK_IS_0) and page.samples == 1:
        grey = [p for p in pages if p.size_px == page.size_px and p.samples == 1]
        channels = max(channels or 0, len(grey))
        if channels > 1:
            raise InputError(
                f"{path}: keeps its {channels} channels on separate pages: convert it to an RGB TIFF "
                "(datasets/prepare_hubmap.py does so for those of HuBMAP)"
            )
    if bits != {8} or formats - {1, 4}:
        kind = {2: "signed ", 3: "floating-point "}.get(max(formats), "")
        fault = f"has {max(bits)} {kind}bits a sample"
    elif photometric not in _COLOURS:
        fault = f"keeps its colours as {_NAMES.get(photometric, f'photometric interpretation {photometric}')}"
    elif photometric == _YCBCR and page.first(tiff.COMPRESSION, 1) not in _YCBCR_CODECS:
        fault = "keeps its colours as YCbCr without JPEG"
    elif extra < 0 or extra > 1:
        kind, known = _KINDS[photometric], _COLOURS[photometric]
        fault = f"has {page.samples} samples a pixel and calls them {kind}, which has {known}"
    elif page.first(tiff.ORIENTATION, 1) != 1:
        fault = f"is turned or mirrored (orientation {page.first(tiff.ORIENTATION)})"
    else:
        is_alpha = page.first(tiff.EXTRA_SAMPLES, 0) in _ALPHA
        if not extra or is_alpha:
            return False
        if photometric in (_RGB, _YCBCR):
            return True
        fault = "has a second channel that it does not explain"
    raise InputError(f"{path}: {fault}: convert it to a TIFF of 8-bit RGB")
