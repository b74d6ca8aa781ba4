"""Which of the annotators' class names become which classes of a dataset."""

from collections import Counter
from collections.abc import Mapping

from mhkd.errors import InputError
from mhkd.wsi.annotations.files import read_annotation_head, read_text
from mhkd.yaml_files import parse_yaml

REST = "*"  # stands for every name that is not mentioned


class ClassMap:
    """Renames, merges and drops classes.

    "" as a name stands for objects without a class, "*" for all that are not mentioned; without "*"
    they keep their names.
    """

    def __init__(self, mapping=None, classes=None):
        """
        Args:
            mapping (Mapping, optional): name in the file -> name in the dataset, "" or None to
                drop.
            classes (sequence[str], optional): the dataset's; whatever else comes out of the map is
                unknown. None: all names are welcome.
        """
        pairs = (mapping or {}).items()
        self.mapping = {_text(old): _text(new) for old, new in pairs}
        self.classes = None if classes is None else list(classes)

    @classmethod
    def parse(cls, pairs=(), path=None, classes=None):
        """From the command line.

        Args:
            pairs (sequence[str]): "from=to", "from=" to drop; they win over the file.
            path (str, optional): YAML file of ``from: to``, null to drop.
            classes (sequence[str], optional): see the constructor.

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

    def target(self, name):
        """str or None: what a name becomes; None: dropped."""
        name = name or ""
        return self.mapping.get(name, self.mapping.get(REST, name)) or None

    def apply(self, annotations, strict=False):
        """Rename and drop.

        Args:
            annotations (AnnotationSet): from one slide.
            strict (bool): unknown classes are an error, not a count.

        Returns:
            tuple[list[tuple[Annotation, str]], Counter]: objects with the dataset's class names,
            and what was left out, in words.

        Raises:
            InputError: strict, and a class that is not known.
        """
        kept, counts, unknown = [], Counter(), Counter()
        for annotation in annotations:
            target = self.target(annotation.name)
            if target is None:
                if (annotation.name or "") in self.mapping or REST in self.mapping:
                    counts[f"objects of the class {annotation.name!r} dropped by the map"] += 1
                else:
                    unknown[annotation.name] += 1
            elif self.classes is not None and target not in self.classes:
                unknown[annotation.name] += 1
            else:
                kept.append((annotation, target))
        if unknown and strict:
            raise InputError(f"{annotations.path}: {self._remedy(unknown)}")
        for name, n in unknown.items():
            what = "without a class" if name is None else f"of the unknown class {name!r}"
            counts[f"objects {what} left out"] += n
        return kept, counts

    def _remedy(self, unknown):
        names = ", ".join("(none)" if n is None else repr(n) for n in list(unknown)[:10])
        known = "" if self.classes is None else f", which are {', '.join(self.classes)}"
        return (
            f"the classes {names} are not among the dataset's{known}: give each a name with "
            "--class from=to ('' stands for objects without a class), or drop it with --class from="
        )


def _read_yaml(path):
    read_annotation_head(path)
    content = parse_yaml(read_text(path), path)
    scalars = (str, int, float, type(None))
    if not isinstance(content, Mapping) or not all(
        isinstance(k, scalars) and isinstance(v, scalars) for k, v in content.items()
    ):
        raise InputError(f"{path}: a map of names is needed, one 'from: to' a line")
    return {_text(old): new for old, new in content.items()}


def _text(name):
    return "" if name is None else str(name).strip()
