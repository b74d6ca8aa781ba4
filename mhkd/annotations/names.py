"""Names as the formats write them, and which of several is an object's class.

A tool writes classes in more than one place: its reader lists them in order, :func:`first_class` chooses.
What ends up as a class by want of anything better is told by :func:`is_number`, :func:`is_default` and
:class:`ObjectName`; :class:`mhkd.annotations.ClassMap` warns of it.
"""

import os
import re
from collections.abc import Iterable
from typing import Any

from ..files import as_text
from .collect import Collector

_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
# what tools call a layer or an annotation that nobody named
_DEFAULT = re.compile(r"(layer|annotation|path ?annotation ?object)[\s_#-]*\d*", re.IGNORECASE)
_REGION = re.compile(r"(rois?|regions?( of interest)?)[\s_#-]*\d*", re.IGNORECASE)


class ObjectName(str):
    """What an annotator called one object whose class is not given: a class, or "left kidney"."""


def class_name(value: Any, collector: Collector, where: str) -> str | None:
    """The name without surrounding blanks; None where there is none.

    Raises:
        InputError: neither a text nor a number.
    """
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = f"{value:g}" if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        raise collector.error(where, f"has the class name {str(value)[:60]}, which is no text")
    name = as_text(value).strip() or None
    return ObjectName(name) if name and isinstance(value, ObjectName) else name


def first_class(values: Iterable[Any], collector: Collector, where: str) -> str | None:
    """The class that a tool wrote in one of several places.

    Args:
        values: of the places, the first is the surest.
        collector: what the reader fills, for the message.
        where: which object of the file this is.

    Returns:
        The first; numbers, which may count objects, come after other classes.
    """
    names = [n for n in (class_name(v, collector, where) for v in values) if n is not None]
    classes = (n for n in names if not (is_number(n) or isinstance(n, ObjectName)))
    return next(classes, names[0] if names else None)


def is_called(file_name: str, slide_name: str) -> bool:
    """Whether a tool's name of an image, with or without folders and ending, is a slide's."""
    base = os.path.basename(file_name.replace("\\", "/"))
    return slide_name in (base, os.path.splitext(base)[0])


def is_number(name: str) -> bool:
    """Whether a class is called by a number, which means something in its file or tool only."""
    return _NUMBER.fullmatch(name) is not None


def is_default(name: str) -> bool:
    """Whether a name is what a tool gives to what nobody named: "Layer 3", "Annotation 12"."""
    return _DEFAULT.fullmatch(name) is not None


def is_region(name: str) -> bool:
    """Whether a name says that objects are looked for in there: "ROI 2", QuPath's "Region*".

    QuPath gives a star to all classes that are none of objects ("Ignore*" is another).
    """
    return name.endswith("*") or _REGION.fullmatch(name) is not None


def word(obj: Any, key: str) -> str | None:
    """A text in a JSON object; None where there is none or anything else."""
    value = obj.get(key) if isinstance(obj, dict) else None
    return value if isinstance(value, str) else None
