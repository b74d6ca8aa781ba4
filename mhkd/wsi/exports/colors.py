"""The colour of each class, the same in every picture, viewer and export."""

# Okabe & Ito's palette (jfly.uni-koeln.de/color): told apart with any colour vision. Its reddish purple is
# left for last: that is what stained tissue looks like.
_KNOWN = {"normal": (0, 114, 178), "sclerotic": (230, 159, 0)}
_OTHERS = ((0, 158, 115), (213, 94, 0), (86, 180, 233), (240, 228, 66), (0, 0, 0), (204, 121, 167))


def class_colors(class_names):
    """Args:
        class_names (Iterable[str]): in the student's order.

    Returns:
        dict[str, tuple[int, int, int]]: class -> red, green, blue of 255. "normal" and "sclerotic" always
        have the same ones; of more classes than colours some share one.
    """
    names = list(class_names)
    if names and not any(n.casefold() in _KNOWN for n in names):  # one class: blue, as if all were normal
        free = [*_KNOWN.values(), *_OTHERS]
    else:
        free = list(_OTHERS)
    colors = {}
    for name in names:
        known = _KNOWN.get(name.casefold())
        if known is None:
            known = free.pop(0)
            free.append(known)
        colors[name] = known
    return colors
