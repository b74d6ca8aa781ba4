"""The colour of each class, the same in every picture, viewer and export."""

# Okabe & Ito's palette (jfly.uni-koeln.de/color): told apart with any colour vision. Its reddish purple comes
# last: that is what stained tissue looks like.
_KNOWN = {"normal": (0, 114, 178), "sclerotic": (230, 159, 0)}
_OTHERS = ((0, 158, 115), (213, 94, 0), (86, 180, 233), (240, 228, 66), (0, 0, 0), (204, 121, 167))


def class_colors(class_names):
    """Args:
        class_names (Iterable[str]): in the student's order.

    Returns:
        dict[str, tuple[int, int, int]]: class -> red, green, blue of 255. "normal" and "sclerotic" always
        have the same ones, the others those of their position; of more than six others some share one.
    """
    colors, others = {}, 0
    for name in dict.fromkeys(class_names):
        colors[name] = _KNOWN.get(name.casefold())
        if colors[name] is None:
            colors[name] = _OTHERS[others % len(_OTHERS)]
            others += 1
    return colors
