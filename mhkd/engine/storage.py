"""Detectron2's storage of scalars with an end to its memory."""

import functools

from detectron2.utils.events import EventStorage, HistoryBuffer

KEPT = 100  # values of each scalar; Detectron2's writers look back on 20


class ShortStorage(EventStorage):
    """Detectron2's own keeps a million values of each scalar: megabytes for 1,000 iterations."""

    def __init__(self, start_iter: int = 0) -> None:
        super().__init__(start_iter)
        self._history.default_factory = functools.partial(HistoryBuffer, KEPT)
