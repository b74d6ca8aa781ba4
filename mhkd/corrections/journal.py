"""The corrections of a slide: a file beside its results that only grows, so that nothing is overwritten.

Each line is one JSON object. A line with "mhkd_corrections" says of which slide they are; every other one is
the new word on one object, and the last word counts. A line that was torn when a process was killed is no
JSON and is skipped: nobody was told that it is kept.
"""

import json
import logging
import os
import re
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import is_text, refuse_pipe, writing_to
from ..slide_detection.finished import FinishedSlide

logger = logging.getLogger(__name__)
CORRECTIONS = "corrections.jsonl"
VERSION = 1
MAX_PX = 1e8  # far beyond any slide
ACCEPTED, REJECTED, FIELD, WITHDRAWN = "accepted", "rejected", "field", "withdrawn"
VERDICTS = (ACCEPTED, REJECTED, FIELD, WITHDRAWN)
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Correction:
    """The word on one object.

    Attributes:
        id: UUID of the object.
        box_px: x0, y0, x1, y1 in base pixels of the slide.
        verdict: a glomerulus (ACCEPTED), none (REJECTED), a field within which all is corrected (FIELD), or
            what was said before is taken back (WITHDRAWN).
        class_name: of a glomerulus, else None.
        drawn: the box is a person's, and takes the place of what was found there; else it is what was found.
    """

    id: str
    box_px: tuple[float, float, float, float]
    verdict: str
    class_name: str | None = None
    drawn: bool = False

    @classmethod
    def parse(cls, content: Any) -> "Correction":
        """From JSON; raises ValueError, which says what is wrong."""
        if not isinstance(content, dict):
            raise ValueError("is no object")
        number, box = content.get("id"), content.get("box_px")
        verdict, name = content.get("verdict"), content.get("class_name")
        drawn = content.get("drawn", False)  # words of before do not say it
        if not (isinstance(number, str) and _ID.fullmatch(number)):
            raise ValueError("has no id that is a UUID")
        if verdict not in VERDICTS:
            raise ValueError(f"has a verdict that is none of {', '.join(VERDICTS)}")
        if not (is_text(name) and name.strip() if verdict == ACCEPTED else name is None):
            raise ValueError("has a class without a glomerulus, or the other way round")
        if type(drawn) is not bool:
            raise ValueError("has a drawn that is neither true nor false")
        if not (isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) for v in box)):
            raise ValueError("has no box of four numbers, x0, y0, x1, y1")
        if not (all(abs(v) <= MAX_PX for v in box) and box[0] < box[2] and box[1] < box[3]):
            raise ValueError("has a box of no size, or off every slide")
        x0, y0, x1, y1 = map(float, box)
        return cls(number, (x0, y0, x1, y1), verdict, name, drawn)


class CorrectionFile:
    """The file of one slide; for many threads, and beside other processes.

    Attributes:
        path: it need not exist yet.
    """

    def __init__(self, slide: FinishedSlide) -> None:
        self.path = slide.folder / CORRECTIONS
        self._slide = slide
        self._lock = threading.Lock()
        self._forget()

    def all(self) -> list[Correction]:
        """Every word, in the order in which they were kept.

        Raises:
            InputError: the file is of another slide, holds something else or cannot be read.
        """
        with self._lock:
            self._read_on()
            return list(self._records)

    def standing(self) -> dict[str, Correction]:
        """The last word on each object, by its id, but for what was taken back; raises like :meth:`all`."""
        return standing(self.all())

    def append(self, correction: Correction) -> list[Correction]:
        """Keep a word: it is on the disk when this returns.

        Returns:
            As :meth:`all`; words of other processes may have come before this one.

        Raises:
            InputError: as :meth:`all`, or it cannot be written.
        """
        with self._lock, writing_to(self.path.parent):
            if not self.path.parent.is_dir():
                raise InputError(f"{self.path.parent}: is not there any more: put the results back")
            self._read_on()
            is_new = not self.path.exists()
            lines = [asdict(correction)] if self._begun else [self._header(), asdict(correction)]
            data = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode()
            with open(self.path, "ab", buffering=0) as f:
                data = b"\n" + data if f.tell() > self._offset else data  # after a torn line
                while data:  # an almost full disk takes a part, then raises
                    data = data[f.write(data) :]
                os.fsync(f.fileno())
            if is_new:
                _keep_name(self.path.parent)
            self._read_on()
            return list(self._records)

    def _forget(self) -> None:
        self._records: list[Correction] = []
        self._begun = False  # a line says of which slide they are
        self._offset = self._line = 0

    def _read_on(self) -> None:
        """What has been added since the last time."""
        try:
            refuse_pipe(self.path)
            with open(self.path, "rb") as f:
                if os.fstat(f.fileno()).st_size < self._offset:  # another file
                    self._forget()
                f.seek(self._offset)
                added = f.read()
        except FileNotFoundError:
            return self._forget()
        except OSError as e:
            raise InputError(f"{self.path}: cannot be read ({e.strerror})") from e
        try:
            for line in added[: added.rfind(b"\n") + 1].splitlines(keepends=True):
                self._line += 1
                self._take(line)
                self._offset += len(line)
        except InputError:
            self._forget()
            raise

    def _take(self, line: bytes) -> None:
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            if line.strip():
                logger.warning("%s: line %d is torn, and left out", self.path, self._line)
            return
        if isinstance(content, dict) and "mhkd_corrections" in content:
            self._check(content)
            self._begun = True
            return
        try:
            if not self._begun:
                raise ValueError("comes before one that says which slide they are of")
            self._records.append(Correction.parse(content))
        except ValueError as e:
            raise InputError(f"{self.path}: line {self._line} {e}: move the file away to begin anew") from e

    def _header(self) -> dict[str, Any]:
        run = self._slide.run
        known = {name: run[name] for name in ("size_px", "slide_checksum") if run.get(name)}
        return {"mhkd_corrections": VERSION, "slide": self._slide.name, **known}

    def _check(self, header: dict[str, Any]) -> None:
        """Raises InputError for those of another slide, by its checksum, else by name and size."""
        own = self._header()
        if header["mhkd_corrections"] != VERSION:
            raise InputError(f"{self.path}: is of another version of mhkd: use that, or move the file away")
        decides = (
            ["slide_checksum"]
            if "slide_checksum" in header and "slide_checksum" in own
            else ["slide", "size_px"]
        )
        if any(name in header and header[name] != own.get(name, header[name]) for name in decides):
            raise InputError(
                f"{self.path}: has the corrections of another slide, {_described(header)}, and this one is "
                f"{_described(own)}: move the file to that slide's results, or away"
            )


def standing(records: Iterable[Correction]) -> dict[str, Correction]:
    """The last word on each object, by its id, but for what was taken back."""
    last = {r.id: r for r in records}
    return {number: r for number, r in last.items() if r.verdict != WITHDRAWN}


def _described(header: dict[str, Any]) -> str:
    size, file = header.get("size_px"), header.get("slide_checksum")
    of_size = f" of {size[0]}x{size[1]} px" if isinstance(size, list) and len(size) == 2 else ""
    in_bytes = f" in {file['bytes']} bytes" if isinstance(file, dict) and "bytes" in file else ""
    return f"{str(header.get('slide'))[:80]}{of_size}{in_bytes}"


def _keep_name(folder: Path) -> None:
    """The name of a new file is on the disk too."""
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
