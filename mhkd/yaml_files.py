"""YAML from others, read as data and within limits: no file runs anything or fills the memory."""

import os
import re
import traceback
from pathlib import Path
from typing import Any

import yaml

from .config_files import configs_folder
from .errors import InputError

BASE_KEY = "_BASE_"
MAX_BYTES = 256 * 1024  # a whole config has 12 KiB
MAX_VALUES = 50_000  # with every alias written out
MAX_DEPTH = 50
MAX_TEXT = 4096  # characters of one value
MAX_FILES = 50  # of one config, bases included
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def parse_yaml(text: str, source: str | os.PathLike[str]) -> Any:
    """The content of a YAML document: maps, lists, text, numbers.

    Args:
        source: where the text is from, for error messages.

    Raises:
        InputError: no YAML; tags that ask for Python objects; a key twice in one map; or more values than
            any config has, as aliases of aliases of aliases have.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"{source}: is larger than {MAX_BYTES // 1024} KiB: is it the right file?")
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _count_values(node, {}, 0, source) > MAX_VALUES:
            raise InputError(f"{source}: holds more than {MAX_VALUES} values: is it the right file?")
        return loader.construct_document(node)
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as e:
        where = one_line(e)
        if isinstance(e, yaml.MarkedYAMLError) and e.problem_mark:
            where = f"line {e.problem_mark.line + 1}: {e.problem}"
        raise InputError(f"{source}: is no YAML that is safe to read ({where})") from e
    finally:
        if loader is not None:
            loader.dispose()


def read_config(
    path: str | os.PathLike[str], allow_base: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A config file's own settings, and those that it has from its ``_BASE_``.

    ``_BASE_`` is as in Detectron2, one file or a list of them relative to the file that names it, but local;
    what is not there is one of the project's: ``Base-MHKD-R50-FPN.yaml``.

    Args:
        allow_base: False for a file that must be whole.

    Returns:
        own, base: nested dicts without ``_BASE_``; ``base`` is empty where there is none.

    Raises:
        InputError: a file is missing or no config; a base is an address, or leads back to itself.
    """
    return _read_config(Path(path), allow_base, (), [])


def merge(over: dict[str, Any], under: dict[str, Any]) -> dict[str, Any]:
    """``under`` with what ``over`` sets, key by key; a new dict."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(value, below) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def one_line(e: BaseException, limit: int = 300) -> str:
    """An exception's message without line breaks; of a long one the beginning and the end.

    One without a message, as ``assert`` raises, is named with the line of code that raised it.
    """
    text = " ".join(str(e).split())
    if not text:
        raised_at = traceback.extract_tb(e.__traceback__)
        text = type(e).__name__ + (f" of {raised_at[-1].line!r}" if raised_at and raised_at[-1].line else "")
    return text if len(text) <= limit else f"{text[: limit // 2]} ... {text[-limit // 2 :]}"


def parse_config(text: str, source: str | os.PathLike[str]) -> dict[str, Any]:
    """A config's text as a nested dict, ``_BASE_`` included.

    Raises:
        InputError: it is no map of names.
    """
    content = parse_yaml(text, source)
    if not isinstance(content, dict) or not content:
        what = "nothing" if not content else f"a {type(content).__name__}"
        raise InputError(f"{source}: is no config: it holds {what} instead of KEY: VALUE lines")
    _check_keys(content, source)
    return content


def _read_config(
    path: Path, allow_base: bool, within: tuple[Path, ...], files: list[Path]
) -> tuple[dict[str, Any], dict[str, Any]]:
    real = Path(os.path.realpath(path))
    if real in within:
        raise InputError(f"{path}: its {BASE_KEY} leads back to itself: remove it from one of the files")
    files.append(real)
    if len(files) > MAX_FILES:
        raise InputError(f"{path}: one config is made of more than {MAX_FILES} files: name fewer bases")
    own = parse_config(read_text(path), path)
    named = own.pop(BASE_KEY, [])
    if not allow_base and named:
        raise InputError(
            f"{path}: has a {BASE_KEY}, but the config of an exported network is whole: export it again with "
            "`mhkd export`"
        )
    base: dict[str, Any] = {}
    for name in named if isinstance(named, list) else [named]:
        merged = merge(*_read_config(_base_path(path, name), allow_base, (*within, real), files))
        base = merge(merged, base)
    return own, base


def _base_path(path: Path, name: object) -> Path:
    if not isinstance(name, str) or not name or ADDRESS.match(name):
        raise InputError(f"{path}: {BASE_KEY} {_shown(name)}: must name a local file")
    name = os.path.expanduser(name)
    for base in (path.parent / name, configs_folder() / name):
        if os.path.isfile(base):
            return base
    raise InputError(
        f"{path}: {BASE_KEY} {_shown(name)}: no such file (looked for beside it and in the project's configs)"
    )


def read_text(path: Path) -> str:
    if ADDRESS.match(str(path)):
        raise InputError(f"{path}: must be a local file")
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file")
    try:
        with open(path, "rb") as f:
            data = f.read(MAX_BYTES + 1)
        return data.decode()
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror or e})") from e
    except UnicodeDecodeError as e:
        raise InputError(f"{path}: is no config: it is not text") from e


def _count_values(
    node: yaml.Node, counts: dict[int, int | None], depth: int, source: str | os.PathLike[str]
) -> int:
    """Nodes below ``node`` with every alias written out, itself included."""
    if id(node) in counts:
        known = counts[id(node)]
        if known is None:
            raise InputError(f"{source}: an alias refers to what contains it")
        return known
    if depth > MAX_DEPTH:
        raise InputError(f"{source}: is nested more than {MAX_DEPTH} deep: is it the right file?")
    counts[id(node)] = None  # being counted
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            children += [key, value]
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise InputError(f"{_place(key, source)}: {_shown(key.value)} is there twice: keep one")
                seen.add(key.value)
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    elif len(node.value) > MAX_TEXT:
        raise InputError(f"{_place(node, source)}: a value has more than {MAX_TEXT} characters")
    count = 1 + sum(_count_values(child, counts, depth + 1, source) for child in children)
    counts[id(node)] = count
    return count


def _place(node: yaml.Node, source: str | os.PathLike[str]) -> str:
    return f"{source}, line {node.start_mark.line + 1}"


def _shown(value: object) -> str:
    return repr(value)[:200]


def _check_keys(content: dict[Any, Any], source: str | os.PathLike[str]) -> None:
    for key, value in content.items():
        if not isinstance(key, str):
            raise InputError(f"{source}: {_shown(key)} is no key of a config")
        if isinstance(value, dict):
            _check_keys(value, source)
