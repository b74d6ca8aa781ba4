"""The rooms of the package: their order is read from docs/architecture.md, what imports what from the code.

``python docs/architecture.py`` draws docs/architecture.svg; tests/test_architecture.py checks the order.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parents[1]
TABLE = REPO / "docs" / "architecture.md"
PACKAGE = REPO / "mhkd"


class Import(NamedTuple):
    """One import of the package by itself, as dotted names of modules."""

    module: str
    imported: str
    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path.relative_to(REPO)}:{self.line}: {self.module} imports {self.imported}"


def floors(text: str) -> list[list[str]]:
    """The rooms of each row of the table, from the ground up."""
    table = text.split("<!-- rooms: from the ground up -->")[1].split("\n#")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return [re.findall(r"`(\w+)`", row) for row in rows]


def room(module: str) -> str:
    """``mhkd.engine.hooks`` is in ``engine``, ``mhkd`` itself in ``__init__``."""
    return (module.split(".") + ["__init__"])[1]


def imports(package: Path = PACKAGE) -> Iterator[Import]:
    """Every import of the package by itself, also those within functions."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    for module, path in modules.items():
        inside = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = inside[: len(inside) - node.level + 1] if node.level else []
                source = ".".join([*base, *([node.module] if node.module else [])])
                inner = [f"{source}.{a.name}" for a in node.names]
                names = [name if name in modules else source for name in inner]
            else:
                continue
            for name in sorted(set(names)):
                if name.split(".")[0] == package.name:
                    yield Import(module, name, path, node.lineno)


def faults(order: list[list[str]], found: list[Import]) -> list[str]:
    """What breaks the order, a line each: rooms that are not in the table, imports upward or in a circle."""
    floor_of = {name: k for k, names in enumerate(order) for name in names}
    lines, sideways = [], defaultdict(list)
    for i in found:
        above, below = room(i.module), room(i.imported)
        unknown = [r for r in (above, below) if r not in floor_of]
        if unknown:
            lines.append(f"{i}, and {unknown[0]} is not in the table")
        elif above != below and floor_of[below] > floor_of[above]:
            lines.append(f"{i}, which is upward")
        elif above != below and floor_of[below] == floor_of[above]:
            sideways[above, below].append(i)
    edges = set(sideways)
    for (above, below), there in sideways.items():
        if above in reachable(below, edges):
            lines += [f"{i}, which is a circle" for i in there]
    return lines


def reachable(start: str, edges: set[tuple[str, str]]) -> set[str]:
    """Rooms that are imported by one, directly or not."""
    seen, todo = set(), [start]
    while todo:
        here = todo.pop()
        new = {b for a, b in edges if a == here} - seen
        seen |= new
        todo += new
    return seen


def draw(order: list[list[str]], found: list[Import], path: Path) -> None:
    """Rooms as boxes, each just above the highest that it imports, with arrows to what it imports."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    matplotlib.rcParams.update({"svg.hashsalt": "mhkd", "font.size": 11})
    ground, doors = order[0], order[-1]
    rooms = [r for names in order[1:-1] for r in names]
    edges = {(room(i.module), room(i.imported)) for i in found}
    edges = {(a, b) for a, b in edges if a != b and a in rooms and b in rooms}
    level: dict[str, int] = {}
    for name in rooms:  # from the ground up, so that what a room imports has its level
        level[name] = 1 + max((level[b] for a, b in edges if a == name and b in level), default=0)
    top = max(level.values())
    column = {}
    for k in range(1, top + 1):
        here = [r for r in rooms if level[r] == k]

        def wish(name: str) -> float:
            below = [column[b] for a, b in sorted(edges) if a == name and b in column]
            return sum(below) / len(below) if below else 0.0

        for j, name in enumerate(sorted(here, key=wish)):
            column[name] = (j + 0.5) / len(here) + (0.05 if k % 2 else -0.05) * (len(here) == 1)

    figure, axes = plt.subplots(figsize=(9, 1 + 0.95 * (top + 2)))
    axes.set(xlim=(0, 1), ylim=(-0.5, top + 1.5))
    axes.axis("off")
    box = {"boxstyle": "round,pad=0.4", "facecolor": "#eaf1fb", "edgecolor": "#31588a"}
    for name in rooms:
        axes.text(column[name], level[name], name, ha="center", va="center", zorder=3, bbox=box)
    for y, names in ((0, ground), (top + 1, doors)):
        half = (len(names) + 1) // 2 if len(names) > 6 else len(names)
        text = ",  ".join(names[:half]) + (",\n" + ",  ".join(names[half:]) if names[half:] else "")
        axes.text(0.5, y, text, ha="center", va="center", zorder=3, bbox={**box, "facecolor": "#f2f2f2"})
    arrow = {"arrowstyle": "-|>", "color": "#31588a", "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    for a, b in sorted(edges):
        if any(b in reachable(c, edges) for x, c in edges if x == a and c != b):
            continue
        start, end = (column[a], level[a] - 0.27), (column[b], level[b] + 0.27)
        axes.annotate("", end, start, arrowprops=arrow, zorder=1)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    draw(floors(TABLE.read_text()), list(imports()), TABLE.with_suffix(".svg"))
