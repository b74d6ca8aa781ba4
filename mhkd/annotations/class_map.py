"""Which of the annotators' class names become which classes of a dataset."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import InputError
from ..yaml_files import parse_yaml
from .annotation import Annotation, AnnotationSet
from .files import read_annotation_head, read_text
from .names import ObjectName, is_default, is_number, is_region

REST = "*"  # stands for every name that is not mentioned


class ClassMap:
    """Renames, merges and drops classes.

    "" as a name stands for objects without a class, "*" for all that have one which is not mentioned;
    without "*" they keep their names. Regions of interest, by their name, are no objects unless a pair
    mentions them.
    """

    def __init__(
        self, mapping: Mapping[Any, Any] | None = None, classes: Iterable[str] | None = None
    ) -> None:
        """
        Args:
            mapping: name in the file -> name in the dataset, "" or None to drop.
            classes: the dataset's; whatever else comes out of the map is unknown. None: all are welcome.
        """
        pairs = (mapping or {}).items()
        self.mapping = {_text(old): _text(new) for old, new in pairs}
        self.classes = None if classes is None else list(classes)

    @classmethod
    def parse(
        cls,
        pairs: Iterable[str] = (),
        path: str | os.PathLike[str] | None = None,
        classes: Iterable[str] | None = None,
    ) -> "ClassMap":
        """From the command line.

        Args:
            pairs: "from=to", "from=" to drop; they win over the file.
            path: YAML file of ``from: to``, null to drop.
            classes: see the constructor.

        Raises:
            InputError: a pair without "=", a name given twice, or a file that is no such map.
        """
        mapping = {} if path is None else _read_yaml(path)
        seen = set()
        for pair in pairs:
            old, equals, new = (part.strip() for part in pair.partition("="))
            if not equals or old in seen:
                what = "is given twice" if equals else "is no from=to"
                raise InputError(f"--class {pair}: {what}: write e.g. --class 'GS=sclerotic'")
            seen.add(old)
            mapping[old] = new
        return cls(mapping, classes)

    def target(self, name: str | None, has_class: bool = True) -> str | None:
        """What a name becomes.

        Args:
            name: as the file has it.
            has_class: False: it names something, but hardly a class ("Layer 3").

        Returns:
            The name in the dataset; None: dropped.
        """
        name = name or ""
        if name in self.mapping:
            return self.mapping[name] or None
        if is_region(name):
            return None
        if name and has_class:
            return self.mapping.get(REST, name) or None
        if "" in self.mapping or REST in self.mapping:
            return self.mapping.get("") or None
        return name or None

    def apply(
        self, annotations: AnnotationSet, strict: bool = False
    ) -> tuple[list[tuple[Annotation, str]], Counter[str]]:
        """Rename and drop.

        Args:
            annotations: from one slide.
            strict: unknown classes are an error, not a count.

        Returns:
            Objects with the dataset's class names, and what was left out, or is doubtful, in words.

        Raises:
            InputError: strict, and a class that is not known.
        """
        kept: list[tuple[Annotation, str]] = []
        counts: Counter[str] = Counter()
        unknown: Counter[str | None] = Counter()
        sure = any(a.name and not isinstance(a.name, ObjectName) for a in annotations)
        for annotation in annotations:
            name = annotation.name or ""
            by_name = sure and isinstance(name, ObjectName)  # beside objects that have a class
            has_class = bool(name) and not by_name and not is_default(name)
            target = self.target(name, has_class)
            if target is None and name not in self.mapping and is_region(name):
                counts[f"regions of interest ({name}) left out"] += 1
            elif target is None and (name in self.mapping or (has_class and REST in self.mapping)):
                what = f"of the class {name!r}" if name else "without a class"
                counts[f"objects {what} dropped by the map"] += 1
            elif target is None and name:
                what = f"called {name!r}, left out (use --class '{name}=...' for them)"
                counts[f"objects without a class, {what}"] += 1
            elif target is None or (self.classes is not None and target not in self.classes):
                unknown[annotation.name] += 1
            else:
                kept.append((annotation, target))
                is_free = target == name and name not in self.mapping and self.classes is None
                if is_free and (doubt := _doubt(name, by_name)):
                    counts[doubt] += 1
        if unknown and strict:
            raise InputError(f"{annotations.path}: {self._remedy(unknown)}")
        for unmapped, n in unknown.items():
            what = "without a class" if unmapped is None else f"of the unknown class {unmapped!r}"
            counts[f"objects {what} left out"] += n
        return kept, counts

    def _remedy(self, unknown: Iterable[str | None]) -> str:
        names = ", ".join("(none)" if n is None else repr(n) for n in list(unknown)[:10])
        known = "" if self.classes is None else f", which are {', '.join(self.classes)}"
        return (
            f"the classes {names} are not among the dataset's{known}: give each a name with "
            "--class from=to ('' stands for objects without a class), or drop it with --class from="
        )


def _doubt(name: str, by_name: bool) -> str | None:
    """What is odd about a class that is called by its name in the file, in words; None: nothing."""
    if is_number(name):
        why = "a number, which may mean something else in another file"
    elif is_default(name):
        why = "a name that nobody gave and that may mean something else in another file"
    elif by_name:
        why = "the name of an object that has no class, beside others that have one"
    else:
        return None
    return f"objects whose class is {name!r}, {why} (use --class '{name}=...' to name or drop it)"


def _read_yaml(path: str | os.PathLike[str]) -> dict[str, str]:
    read_annotation_head(path)
    content = parse_yaml(read_text(path), path)
    scalars = (str, int, float, type(None))
    if not isinstance(content, Mapping) or not all(
        isinstance(k, scalars) and isinstance(v, scalars) for k, v in content.items()
    ):
        raise InputError(f"{path}: a map of names is needed, one 'from: to' a line")
    return {_text(old): new for old, new in content.items()}


def _text(name: Any) -> str:
    return "" if name is None else str(name).strip()
