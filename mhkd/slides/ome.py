"""What the OME-XML in the header of an OME-TIFF says of its pixels.

Read here because OpenSlide and libvips do not: without it an OME-TIFF has no resolution, and a fluorescence
stack looks like a grey slide.
"""

import math
import unicodedata
from typing import NamedTuple

import defusedxml.ElementTree

_PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "": 0, "d": -1,
    "c": -2, "m": -3, "μ": -6, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
# OME's units of length, and what writers put in their place. "pixel" and "reference frame" are no lengths.
_UM = {
    **{f"{prefix}m": 10.0 ** (6 + power) for prefix, power in _PREFIXES.items()},
    "Å": 1e-4, "thou": 25.4, "li": 25400 / 12, "in": 25400.0, "ft": 304800.0, "yd": 914400.0,
    "mi": 1.609344e9, "pt": 25400 / 72, "ua": 1.495978707e17, "ly": 9.4607304725808e21,
    "pc": 3.0856775814913673e22, "meter": 1e6, "millimeter": 1e3, "micrometer": 1.0, "micron": 1.0,
    "microns": 1.0, "nanometer": 1e-3, "angstrom": 1e-4, "inch": 25400.0, "centimeter": 1e4,
}  # fmt: skip


class Ome(NamedTuple):
    """What is said; None where it is not."""

    mpp: tuple[float, float] | None = None
    channels: int | None = None
    size_px: tuple[int, int] | None = None


def read_ome(description: str | None) -> Ome:
    """Read a TIFF's image description.

    Args:
        description: of its first page.

    Returns:
        Micrometres per pixel along x and y, the number of channels, and width and height.
    """
    if not description or "<OME" not in description or "<Pixels" not in description:
        return Ome()
    try:
        root = defusedxml.ElementTree.fromstring(description.strip("\0 \r\n"), forbid_dtd=True)
    except (ValueError, SyntaxError):  # defusedxml's refusals, broken XML
        return Ome()
    pixels = root.find(".//{*}Pixels")
    if pixels is None:
        return Ome()
    mpp: tuple[float, float] | None
    try:
        x, y = (
            float(pixels.attrib[f"PhysicalSize{a}"]) * _um(pixels.get(f"PhysicalSize{a}Unit", "µm"))
            for a in "XY"
        )
        mpp = (x, y)
    except (KeyError, ValueError):
        mpp = None
    if mpp is not None and not all(math.isfinite(v) and v > 0 for v in mpp):
        mpp = None
    width, height, channels = (
        int(n) if n.isdecimal() else None for n in (pixels.get(f"Size{axis}", "") for axis in "XYC")
    )
    return Ome(mpp, channels, (width, height) if width and height else None)


def _um(unit: str) -> float:
    """Micrometres in a unit; KeyError where it is none of length."""
    # the micro sign and the Angstrom sign have look-alikes, and a byte too many where UTF-8 was mistaken
    return _UM[unicodedata.normalize("NFKC", unit.strip().replace("Âµ", "µ"))]
