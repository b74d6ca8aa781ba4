"""What was found so far on a slide: a file that only grows, so that a run killed at any moment goes on."""

import fcntl
import json
import os
import zlib

from ..errors import InputError


class Journal:
    """Records of finished batches; a context manager, for one process at a time.

    Each line is the CRC-32 of a JSON text, in hexadecimal, and the text. The first line is the key, which
    stands for all that the records depend on; records under another key are thrown away. A line that was
    torn when the process was killed ends the journal: it and what follows are cut off.
    """

    def __init__(self, path, key):
        """
        Args:
            path (Path): file; its folder is made.
            key (str): see above.

        Raises:
            InputError: another process is at work on it.
            OSError: it cannot be written.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: nothing is left to be written when a full disk has stopped the run.
        self._file = open(path, "a+b", buffering=0)
        try:
            self._lock()
            self.records = self._load(key)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def append(self, index, record):
        """Keep the record of batch ``index``, anything that JSON can hold.

        Raises:
            OSError: no space left, and the like. The journal stays usable up to the record before.
        """
        self._write([index, record])
        self.records[index] = record

    def _lock(self):
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, killed or not
        except BlockingIOError as e:
            raise InputError(
                f"{self.path.parent.parent}: another process is at work on this slide: wait for it, or "
                "choose another --out"
            ) from e
        except OSError:
            pass  # a file system without locks

    def _load(self, key):
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
            else:
                records[content[0]] = content[1]
            good += len(line)
        self._file.truncate(good)
        if good == 0:
            self._write(key)
        return records

    def _write(self, content):
        text = json.dumps(content, separators=(",", ":")).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        while line:  # an almost full disk takes a part, then raises
            line = line[self._file.write(line) :]
        os.fsync(self._file.fileno())


def _parse(line):
    """Content of a line; None if it is torn."""
    try:
        crc, text = line[:8], line[9:-1]
        whole = line.endswith(b"\n") and int(crc, 16) == zlib.crc32(text)
        return json.loads(text) if whole else None
    except ValueError:
        return None
