"""Images that could not be read in the midst of a training: named, counted, skipped again when resumed."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.utils import comm

from ..errors import InputError
from ..files import write_json

logger = logging.getLogger(__name__)

FILE = "skipped.json"


class SkippedImages:
    """What a training skipped, ``OUTPUT_DIR/skipped.json``, known to all of its processes.

    A resumed run goes through iterations anew; what they skipped they skip again, though the file be mended.
    """

    def __init__(self, folder: Path, limit: int):
        """
        Args:
            limit: images that one run may skip, DATALOADER.MAX_SKIPPED_IMAGES.
        """
        self.path, self.limit = folder / FILE, limit
        self.records: list[dict[str, Any]] = []
        self._now: set[str] = set()

    def begin(self, resumed: bool) -> None:
        """
        Args:
            resumed: go on with what an earlier run skipped, else forget it.

        Raises:
            InputError: the file of that is damaged.
        """
        if resumed and self.path.is_file():
            try:
                self.records = list(json.loads(self.path.read_text(encoding="utf-8")))
                self.of_draws()
            except (ValueError, TypeError, KeyError) as e:
                raise InputError(f"{self.path}: not readable: restore it, or move it away") from e
        elif comm.is_main_process():
            self.path.unlink(missing_ok=True)

    def of_draws(self) -> Counter[int]:
        """Number of a draw -> images that were skipped in it."""
        return Counter(record["draw"] for record in self.records)

    def add(self, iteration: int, found: Sequence[tuple[int, str, str]]) -> None:
        """
        Args:
            found: draw, file name and what is wrong with it, the same in every process.

        Raises:
            InputError: they are more than the limit.
        """
        if not found:
            return
        for draw, file_name, why in found:
            self.records.append({"iteration": iteration, "draw": draw, "file_name": file_name, "why": why})
            self._now.add(file_name)
            logger.warning(
                f"iteration {iteration}: skipped, {len(self._now)} of at most {self.limit} images "
                f"(DATALOADER.MAX_SKIPPED_IMAGES): {why}"
            )
        if comm.is_main_process():
            write_json(self.records, self.path)
        if len(self._now) > self.limit:
            raise InputError(
                f"iteration {iteration}: {len(self._now)} images cannot be read, and at most {self.limit} "
                f"are skipped (DATALOADER.MAX_SKIPPED_IMAGES); the log names them, the last is: {why}; "
                "--resume goes on when they are back"
            )
