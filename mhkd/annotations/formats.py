"""The registry of annotation formats.

A format of one's own is a recogniser and a reader, registered before annotations are read. Here for a text
file with the line "glomeruli", and after it one of x, y and diameter for each, in base pixels of the slide::

    from mhkd.annotations import AnnotationFormat, register_format

    def recognise(file):
        return file.path if file.head.startswith(b"glomeruli\\n") else None

    def read(path, collector):
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(list(f)[1:], 1):
                x, y, diameter = (float(word) for word in line.split())
                collector.ellipse((x, y), diameter, diameter, 0.0, "glomerulus", f"line {number}")

    register_format(AnnotationFormat("circles", recognise, read, suffixes=(".circles",)))

It is asked before the formats that come with the package. The file beside ``a.svs`` is then ``a.circles``.
It is known where it is registered: a script that tiles in processes (:func:`mhkd.tiling.tile.tile_slides`)
registers it at its top level, which they run too; the command line knows the package's formats only.

A reader hands outlines to the :class:`~mhkd.annotations.collect.Collector`, which repairs and counts them,
and says what is wrong with an object by ``raise collector.error("line 3", "has no diameter")``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .collect import Collector
from .files import AnnotationFile

Recogniser = Callable[[AnnotationFile], Any]
Reader = Callable[[Any, Collector], str | None]


@dataclass(frozen=True)
class AnnotationFormat:
    """A format of annotation files.

    Attributes:
        name: what it is called in messages and records.
        recognise: looks at a file and returns what the reader needs, or None if it is of another format.
        read: (what the recogniser returned, collector) -> None; or the name that the file turned out to have,
            where a format has several.
        suffixes: further endings of its files, besides .geojson, .json, .xml, .annotations and .ndpa.
        of_many_slides: whether a file says itself which slide an object is on, so that its name need not.
    """

    name: str
    recognise: Recogniser
    read: Reader
    suffixes: tuple[str, ...] = ()
    of_many_slides: bool = False


_own: list[AnnotationFormat] = []


def register_format(new: AnnotationFormat) -> None:
    """Make a format known in this process.

    Raises:
        ValueError: another one of that name is registered.
    """
    if new in _own:
        return
    if any(f.name == new.name for f in _own):
        raise ValueError(f"an annotation format {new.name!r} is registered already")
    _own.append(new)


def own_formats() -> tuple[AnnotationFormat, ...]:
    """The formats that were registered, in that order."""
    return tuple(_own)


def own_suffixes() -> tuple[str, ...]:
    """Endings of their files, in lower case."""
    return tuple(s.lower() for f in _own for s in f.suffixes)
