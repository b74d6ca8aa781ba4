"""What was found so far on a slide: a file that only grows, so that a run killed at any moment goes on.

Written by hand: a database's file may be left damaged on a network disk, and a record here is one line.
"""

import contextlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

from ..files import locked, refuse_pipe


class Journal:
    """Records of finished batches; a context manager, for one process at a time.

    Each line is the CRC-32 of a JSON text, in hexadecimal, and the text. The first line is the key, which
    stands for all that the records depend on; records under another key are thrown away. A line that was
    torn when the process was killed ends the journal: it and what follows are cut off.

    Attributes:
        path: the file.
        records: of each batch, by its index.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Open or begin it.

        Args:
            path: file; its folder, which is locked, is made.
            key: see above.

        Raises:
            InputError: another process is at work on it.
            OSError: it cannot be written.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        busy = "another process is at work on this slide: wait for it, or choose another --out"
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(path.parent, f"{path.parent.parent}: {busy}"))
            if os.path.lexists(path):
                refuse_pipe(path)
            # Unbuffered: nothing is left to be written when a full disk has stopped the run.
            self._file = stack.enter_context(open(path, "a+b", buffering=0))
            self.records = self._load(key)
            self._opened = stack.pop_all()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def append(self, index: int, record: Any) -> None:
        """Keep the record of batch ``index``, anything that JSON can hold.

        Raises:
            OSError: no space left, and the like. The journal stays usable up to the record before.
        """
        self._write([index, record])
        self.records[index] = record

    def _load(self, key: str) -> dict[int, Any]:
        self._file.seek(0)
        records, good, found = {}, 0, None
        for line in self._file.readall().splitlines(keepends=True):
            content = _parse(line)
            if content is None:
                break
            if found is None:
                found = content
                if found != key:
                    break
            elif not _is_record(content):
                break
            else:
                records[content[0]] = content[1]
            good += len(line)
        self._file.truncate(good)
        if good == 0:
            self._write(key)
        return records

    def _write(self, content: Any) -> None:
        text = json.dumps(content, separators=(",", ":")).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        while line:  # an almost full disk takes a part, then raises
            line = line[self._file.write(line) :]
        os.fsync(self._file.fileno())


def _parse(line: bytes) -> Any:
    """Content of a line; None if it is torn."""
    try:
        crc, text = line[:8], line[9:-1]
        whole = line.endswith(b"\n") and int(crc, 16) == zlib.crc32(text)
        return json.loads(text) if whole else None
    except (ValueError, RecursionError):
        return None


def _is_record(content: Any) -> bool:
    return isinstance(content, list) and len(content) == 2 and type(content[0]) is int
