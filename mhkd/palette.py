"""Every colour that a picture, a page or an export gives a meaning to."""

from collections.abc import Iterable

RGB = tuple[int, int, int]

# Classes. Okabe & Ito's palette (jfly.uni-koeln.de/color): told apart with any colour vision. Its reddish
# purple comes last: that is what stained tissue looks like.
_KNOWN: dict[str, RGB] = {"normal": (0, 114, 178), "sclerotic": (230, 159, 0)}
_OTHERS: tuple[RGB, ...] = (
    (0, 158, 115), (213, 94, 0), (86, 180, 233), (240, 228, 66), (0, 0, 0), (204, 121, 167),
)  # fmt: skip
# Drawn slides record these in their annotation files, as a pathologist's program would record its own.
DRAWN_CLASSES: dict[str, RGB] = {"normal": (0, 170, 90), "sclerotic": (230, 110, 20)}

# Verdicts on detections and annotations. Red and yellow as in the paper's Fig. 3; blue, since red and green
# are one colour to many.
FALSE_POSITIVE, MISSED, FOUND = "#ff2a1a", "#ffd500", "#1f5fff"
OTHER_CLASS, NOT_SCORED = "#00c8ff", "#8a8a8a"

# Charts.
RUNS = ("#1f5fa8", "#d1601f", "#2e8b57", "#8a4fa3", "#7a5c3a", "#c23b6b")
AP50, AP = "#1f5fa8", "#93bbe3"
OURS, PAPERS = "#3b6fb6", "#b0b0b0"
REFERENCE, REFERENCE_GROUND, ERROR_BAR = "#9a9a9a", "#f0f0f0", "#1c1c1c"
CAPTION = "#444444"


def class_colors(class_names: Iterable[str]) -> dict[str, RGB]:
    """Each class and its colour, the same in every picture, viewer and export.

    "normal" and "sclerotic" always have the same ones, the others those of their position; of more than six
    others some share one.

    Args:
        class_names: in the student's order.
    """
    colors: dict[str, RGB] = {}
    others = 0
    for name in dict.fromkeys(class_names):
        known = _KNOWN.get(name.casefold())
        colors[name] = known or _OTHERS[others % len(_OTHERS)]
        others += known is None
    return colors


def hex_color(rgb: RGB) -> str:
    """The colour as CSS and matplotlib write it, "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)
