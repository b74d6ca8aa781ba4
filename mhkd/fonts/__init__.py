"""The font of all pictures, DejaVu Sans 2.35, which has the letters of more languages than Pillow's own."""

from pathlib import Path

from PIL import ImageFont


def sans(size_px: float) -> ImageFont.FreeTypeFont:
    """The font at a size."""
    return ImageFont.truetype(str(Path(__file__).with_name("DejaVuSans.ttf")), size_px)
