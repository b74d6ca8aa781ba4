"""The font of all pictures, DejaVu Sans 2.35, which has the letters of more languages than Pillow's own."""

from pathlib import Path

from PIL import ImageFont

MOST_LETTERS = 200  # of one text in a picture


def drawn(text: str) -> str:
    """A text from a file as it can be drawn in one line: no controls, no halves of letters, not too long."""
    return printable(text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…")


def printable(text: str) -> str:
    """The same in all its length."""
    return "".join(c if c.isprintable() else " " for c in text)


def sans(size_px: float) -> ImageFont.FreeTypeFont:
    """The font at a size."""
    return ImageFont.truetype(str(Path(__file__).with_name("DejaVuSans.ttf")), size_px)
