"""What a run says: on the screen as it goes, and in OUTPUT_DIR/log.txt once that may be written to."""

import logging
from logging.handlers import MemoryHandler
from pathlib import Path

from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from ..errors import InputError
from ..files import writing_to
from ..terminal import legible_lines

NAMES = ("detectron2", "fvcore", "mhkd")


class RunLog:
    """Context manager; within it every line of Detectron2's and of ours is shown once, by the first process.

    An error that ends it is the last line of the file; on the screen it is the caller's.
    """

    def __enter__(self):
        self._early = MemoryHandler(10_000, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
        screen = _OnceOfData()
        self._file = None
        self._before = []
        for logger in map(logging.getLogger, NAMES):
            self._before.append((logger, logger.handlers[:], logger.level, logger.propagate))
            logger.handlers.clear()
            # Unwrapped, since it remembers its calls and would add nothing the second time.
            setup_logger.__wrapped__(None, comm.get_rank(), name=logger.name)
            for handler in logger.handlers:
                handler.addFilter(screen)
            logger.addHandler(self._early)
        return self

    def keep_in(self, folder: str | Path) -> None:
        """From now on, and what was said before, in ``folder``/log.txt (log.txt.rank1, ... of the others).

        Raises:
            InputError: it cannot be written.
        """
        rank = comm.get_rank()
        path = Path(folder, "log.txt" + (f".rank{rank}" if rank else ""))
        with writing_to(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _FileHandler(path, encoding="utf-8")
        self._file.setFormatter(
            logging.Formatter("[%(asctime)s] %(name)s %(levelname)s: %(message)s", "%m/%d %H:%M:%S")
        )
        self._file.addFilter(_OnceOfData())
        self._early.setTarget(self._file)
        self._early.flush()
        for name in NAMES:
            logging.getLogger(name).removeHandler(self._early)
            logging.getLogger(name).addHandler(self._file)

    def __exit__(self, kind, error, traceback):
        if error is not None and self._file is not None:
            seen = None if isinstance(error, InputError) else (kind, error, traceback)
            text = str(error) or kind.__name__
            record = logging.LogRecord("mhkd", logging.ERROR, __file__, 0, text, None, seen)
            self._file.handle(record)
        for logger, handlers, level, propagate in self._before:
            logger.handlers[:] = handlers
            logger.setLevel(level)
            logger.propagate = propagate
        self._early.close()
        if self._file is not None:
            self._file.close()


class _OnceOfData(logging.Filter):
    """Datasets are read anew in each step: what that finds is said the first time, names as text."""

    def __init__(self):
        super().__init__()
        self._said = set()

    def filter(self, record):
        record.msg, record.args = legible_lines(record.getMessage()), None
        said = (record.name, record.msg)
        if not record.name.startswith("mhkd.data") or said not in self._said:
            self._said.add(said)
            return True
        return False


class _FileHandler(logging.FileHandler):
    def handleError(self, record):
        """A full disk stops the run where it writes its results, not with a traceback a line."""

    def close(self):
        try:
            super().close()
        except OSError:
            pass
