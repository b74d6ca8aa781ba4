"""Files that are written whole or not at all."""

import json
import os
from pathlib import Path


def write_text(text: str, path: Path) -> None:
    """To a temporary name beside ``path``, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def write_json(content, path: Path) -> None:
    """Indented JSON; raises ValueError for NaN, which is not JSON."""
    write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", path)
