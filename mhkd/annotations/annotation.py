"""What reading an annotation file gives."""

from collections import Counter
from dataclasses import dataclass, field

from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True)
class Annotation:
    """One object on a slide.

    Attributes:
        geometry (Polygon or MultiPolygon): valid, in base pixels of the slide.
        name (str or None): its class as the file has it; None where it has none.
        iscrowd (bool): a region of many objects, COCO's sense.
    """

    geometry: BaseGeometry
    name: str | None
    iscrowd: bool = False


@dataclass
class AnnotationSet:
    """The annotations of one slide.

    Attributes:
        path (str): the file.
        format (str): what the file turned out to be, one of ``FORMATS``.
        annotations (list[Annotation]): in the order of the file.
        counts (Counter): what was repaired or left out, in words.
    """

    path: str
    format: str
    annotations: list[Annotation]
    counts: Counter = field(default_factory=Counter)

    def __iter__(self):
        return iter(self.annotations)

    def __len__(self):
        return len(self.annotations)

    def summary(self):
        """str: the counts in one line."""
        return ", ".join(f"{n} {what}" for what, n in sorted(self.counts.items()))
