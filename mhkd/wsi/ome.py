"""What the OME-XML in the header of an OME-TIFF says of its pixels."""

import math

import defusedxml.ElementTree

_UM = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}  # micro sign, Greek mu


def read_ome(description):
    """Read a TIFF's image description.

    Args:
        description (str or None): of its first page.

    Returns:
        tuple[tuple[float, float] or None, int or None]: micrometres per pixel along x and y, and
        the number of channels; None where it is no OME-XML or does not say.
    """
    if not description or "<OME" not in description or "<Pixels" not in description:
        return None, None
    try:
        root = defusedxml.ElementTree.fromstring(description.strip("\0 \r\n"), forbid_dtd=True)
    except (ValueError, SyntaxError):  # defusedxml's refusals, broken XML
        return None, None
    pixels = root.find(".//{*}Pixels")
    if pixels is None:
        return None, None
    try:
        mpp = tuple(
            float(pixels.attrib[f"PhysicalSize{a}"])
            * _UM[pixels.get(f"PhysicalSize{a}Unit", "µm")]
            for a in "XY"
        )
    except (KeyError, ValueError):
        mpp = None
    channels = pixels.get("SizeC", "")
    if mpp is not None and not all(math.isfinite(v) and v > 0 for v in mpp):
        mpp = None
    return mpp, int(channels) if channels.isdecimal() else None
