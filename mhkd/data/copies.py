"""The same image under two names: no slide and no patient tells that it is in training and test."""

import functools
import logging
import os
from collections import defaultdict
from collections.abc import Iterable

from ..files import sha256

logger = logging.getLogger(__name__)


def warn_of_copies(learned: Iterable[str], scored: Iterable[str], names: tuple[str, str]) -> None:
    """Say which files of ``scored`` are some of ``learned`` byte for byte.

    No error: empty tiles of two slides may be the same, and who overfits on purpose scores what was learned.

    Args:
        learned, scored: the files of two datasets, images or slides.
        names: what to call the two.
    """
    if both := copies(learned, scored):
        logger.warning(
            f"{len(both)} of {names[1]} are copies of images of {names[0]}, and scores on what was learned "
            f"mean little: {both[0][1]} is {both[0][0]}"
        )


def copies(ours: Iterable[str], theirs: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of other files with the same bytes, one for each of ``theirs`` that has any."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for path in sorted(ours):
        if os.path.isfile(path):
            by_size[os.path.getsize(path)].append(path)
    found = []
    for path in sorted(theirs):
        if os.path.isfile(path):
            of_size = [other for other in by_size[os.path.getsize(path)] if not os.path.samefile(other, path)]
            found += [(other, path) for other in of_size if _content(other) == _content(path)][:1]
    return found


def _content(path: str) -> str:
    stat = os.stat(path)
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=100_000)
def _sha256(path: str, _mtime_ns: int, _size: int) -> str:
    return sha256(path)
