"""A kind of input: how a sound one is written, how it is damaged, and what of mhkd reads it."""

import contextlib
import io
import json
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mhkd.cli import main
from mhkd.errors import InputError

import numpy as np
import onnx
import torch
import yaml
from _mutations import EXTREMES, change_bytes, change_text, change_tree, encode, json_text
from click.testing import CliRunner


@dataclass(frozen=True)
class Kind:
    """
    Attributes:
        name: of it.
        write: writes the sound files into a folder.
        read: with the folder as the current one, reads them as a command does; gives JSON values, or raises
            InputError. Asserts what holds of everything that is read.
        files: name of each file that is damaged -> how its structure is, a name in STRUCTURES or None.
        nasty: hand-written ones: name -> what makes it of the sound files in a folder.
        reformatted: the same content, written otherwise, is read the same: of these files.
        named: what an error may name instead of the damaged file.
        reader: mhkd's reader of slides may be started.
        names_files: the user's file may name others anywhere, which are then read as what they should be.
        fresh: its files have their own place in them, so that they are written for each case.
        exact: damaged bytes are an error, or change nothing.
        share: of the cases; slow ones have fewer.
    """

    name: str
    write: Callable[[Path], Any]
    read: Callable[[], Any]
    files: Mapping[str, str | None]
    nasty: Mapping[str, Callable[[Path], Any]] = field(default_factory=dict)
    reformatted: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    reader: bool = False
    names_files: bool = False
    fresh: bool = False
    exact: bool = False
    share: float = 1.0


def _json(content, random):
    return encode(json_text(change_tree(json.loads(content), random), random))


def _lines(content, random):
    """JSON lines, of which some change."""
    return (
        b"\n".join(map(_encoded, change_tree([json.loads(line) for line in content.splitlines()], random)))
        + b"\n"
    )


def _encoded(value):
    return encode(json_text(value))


def _journal(content, random):
    """Of mhkd detect, each line with the checksum of what it has become; its first line, the key, stays."""
    first, *lines = content.splitlines(keepends=True)
    changed = change_tree([json.loads(line[9:]) for line in lines], random)
    changed = changed if isinstance(changed, list) else [changed]
    return first + b"".join(journal_line(value) for value in changed)


def journal_line(value):
    text = _encoded(value)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _yaml(content, random):
    if random.random() < 0.4:
        return _text(content, random)
    tree = change_tree(yaml.safe_load(content), random)
    try:
        return encode(yaml.safe_dump(tree, allow_unicode=True, width=200))
    except yaml.YAMLError:
        return encode(json_text(tree))


def _text(content, random):
    return encode(change_text(content.decode("utf-8", "replace"), random))


def _checkpoint(content, random):
    """What torch saved, with other values in it, or other objects."""
    tree = torch.load(io.BytesIO(content), weights_only=True)
    return saved(_changed_objects(tree, random))


def _pickle(content, random):
    return pickle.dumps(_changed_objects(pickle.loads(content), random), random.choice((0, 2, 4, 5)))


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


def _changed_objects(tree, random):
    """change_tree on the dicts; tensors and arrays change their shape, type or values, or become commands."""
    arrays = []

    def out(node):
        if isinstance(node, dict):
            return {str(k): out(v) for k, v in node.items()}
        if isinstance(node, (list, tuple)):
            return [out(v) for v in node]
        if node is None or isinstance(node, (str, int, float, bool)):
            return node
        arrays.append(node)
        return f"@array{len(arrays) - 1}@"

    def back(node):
        if isinstance(node, dict):
            return {k: back(v) for k, v in node.items()}
        if isinstance(node, list):
            return [back(v) for v in node]
        if (
            isinstance(node, str)
            and node.startswith("@array")
            and node.endswith("@")
            and node[6:-1].isdigit()
        ):
            return other(arrays[int(node[6:-1])])
        return node

    def other(array):
        if random.random() > 2 / max(1, len(arrays)):
            return array
        ways = [
            lambda a: a * float("nan"),
            lambda a: a * 0,
            lambda a: a * 1e38,
            lambda a: a.reshape(-1),
            lambda a: a[None],
            lambda a: a.reshape(-1)[:1],
            lambda a: a.reshape(-1)[:0],
            lambda a: [1.0, 2.0],
            lambda a: a > 0,
            lambda a: a.tolist(),
            lambda a: Runs(os.system, "touch RAN"),
            lambda a: Runs(eval, "open('RAN', 'w')"),
            lambda a: {"a": a},
            lambda a: a.T if a.ndim == 2 else a,
            lambda a: None,
        ]
        return random.choice(ways)(array)

    return back(change_tree(out(tree), random))


def saved(content, old=False):
    """As torch saves it, in an archive or as it did before."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def _safetensors(content, random):
    size = int.from_bytes(content[:8], "little")
    header = _json(content[8 : 8 + size], random)
    claimed = random.choice((len(header), len(header), len(header), 2**63, 0, len(header) + 1))
    return claimed.to_bytes(8, "little") + header + content[8 + size :]


def _zip(content, random):
    """A member whose name, content, attributes or kind of compression is another."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [[m, archive.read(m)] for m in archive.infolist()]
    member, data = chosen = random.choice(members)
    what = random.randrange(9)
    if what == 0:
        member.filename = random.choice(
            (
                "../outside/x",
                "/tmp/x",
                "..\\x",
                "config.yaml ",
                "CONFIG.YAML",
                "a/b",
                "card.yaml",
                "student.onnx",
                "",
            )
        )
    elif what == 1:
        member.compress_type = zipfile.ZIP_DEFLATED
    elif what == 2:
        member.external_attr = random.choice((0o120777, 0o060644, 0o040755, 0o010644)) << 16
    elif what == 3:
        members.remove(chosen)
    elif what == 4:
        members.append([zipfile.ZipInfo(random.choice(("x.py", "config.yaml", "a" * 5000, "é.yaml"))), b"x"])
    elif what == 5:
        chosen[1] = b"x" * random.choice((0, 1, 300_000, 5_000_000))
    elif what == 6:
        chosen[1] = change_bytes(data, random)
    elif what == 7:
        chosen[1] = (
            _text(data, random) if member.filename.endswith((".yaml", ".json")) else data[: len(data) // 2]
        )
    else:
        member.extra = random.randbytes(40)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for info, data in members:
            archive.writestr(info, data)
    return file.getvalue()


def _npz(content, random):
    """One of the arrays is another, of another shape or type."""
    with np.load(io.BytesIO(content)) as found:
        arrays = dict(found)
    name = random.choice(list(arrays))
    array = arrays[name]
    ways = [
        lambda a: a.reshape(-1),
        lambda a: a.reshape(-1)[:1],
        lambda a: a[:0] if a.ndim else a,
        lambda a: a.astype(str),
        lambda a: np.array([{"a": a}], object),
        lambda a: np.array("x"),
        lambda a: np.array(7),
    ]
    if array.dtype.kind in "if":
        ways += [
            lambda a: a * np.nan,
            lambda a: a + 1e9,
            lambda a: -a,
            lambda a: a[::-1],
            lambda a: a.astype(bool),
        ]
    arrays[name] = random.choice(ways)(array)
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _onnx(content, random):
    """A field somewhere in the model is another: a name, a number, a node, an attribute."""
    model = onnx.load_from_string(content)
    messages = list(_messages(model))
    for _ in range(random.choice((1, 1, 2))):
        message, field_of = random.choice(messages)
        value = random.choice(EXTREMES)
        with contextlib.suppress(TypeError, ValueError, UnicodeError, AttributeError):
            if field_of.is_repeated:
                values = getattr(message, field_of.name)
                what = random.randrange(3)
                if what == 0:
                    del values[random.randrange(len(values))]
                elif what == 1:
                    values.append(values[0])
                elif field_of.type != field_of.TYPE_MESSAGE:
                    values[0] = value
            elif field_of.type == field_of.TYPE_MESSAGE:
                message.ClearField(field_of.name)
            else:
                setattr(
                    message, field_of.name, value.encode() if field_of.type == field_of.TYPE_BYTES else value
                )
    return model.SerializeToString()


def _messages(message):
    for one, value in message.ListFields():
        yield message, one
        if one.type == one.TYPE_MESSAGE:
            for inner in value if one.is_repeated else [value]:
                yield from _messages(inner)


def said_by(*words):
    """What ``mhkd`` prints.

    Raises:
        InputError: it ended with 1 or 2, and what it said is one line.
    """
    result = CliRunner().invoke(main, list(map(str, words)))
    if result.exception is None or result.exit_code == 0:
        return result.stdout  # without bars of progress, which have times
    if not isinstance(result.exception, SystemExit):
        raise result.exception
    said = result.stderr.splitlines()  # warnings may come before
    errors = [line for line in said if line.startswith("mhkd: error: ")]
    assert said and (result.exit_code == 1 or errors == said[-1:]), result.stderr
    raise InputError(said[-1])


STRUCTURES = {
    "json": _json,
    "lines": _lines,
    "journal": _journal,
    "yaml": _yaml,
    "text": _text,
    "checkpoint": _checkpoint,
    "npz": _npz,
    "onnx": _onnx,
    "pickle": _pickle,
    "safetensors": _safetensors,
    "zip": _zip,
}


def reformat(structure, content, random):
    """The same content, written otherwise."""
    if structure == "json":
        content = json.loads(content)
        return json.dumps(
            content, indent=random.choice((None, 1, 7)), sort_keys=random.random() < 0.5
        ).encode()
    return content.replace(b"\n", b"\r\n") if b"\r" not in content else content
