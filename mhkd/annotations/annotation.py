"""What reading an annotation file gives."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True)
class Annotation:
    """One object on a slide.

    Attributes:
        geometry: a polygon or several, valid, in base pixels of the slide.
        name: its class as the file has it; None where it has none.
        iscrowd: a region of many objects, COCO's sense.
    """

    geometry: BaseGeometry
    name: str | None
    iscrowd: bool = False


@dataclass
class AnnotationSet:
    """The annotations of one slide.

    Attributes:
        path: the file.
        format: what the file turned out to be, the name of a format.
        annotations: in the order of the file.
        counts: what was repaired or left out, in words.
        of_many_slides: whether the file says itself which slide an object is on.
    """

    path: str
    format: str
    annotations: list[Annotation]
    counts: Counter[str] = field(default_factory=Counter)
    of_many_slides: bool = False

    def __iter__(self) -> Iterator[Annotation]:
        return iter(self.annotations)

    def __len__(self) -> int:
        return len(self.annotations)

    def summary(self) -> str:
        """The counts in one line."""
        return ", ".join(f"{n} {what}" for what, n in sorted(self.counts.items()))
