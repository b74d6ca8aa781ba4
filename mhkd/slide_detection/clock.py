"""Where the time goes."""

import collections
import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Seconds by name, of any thread."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._seconds: dict[str, float] = collections.defaultdict(float)

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """What is done within it is counted as ``name``."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - began

    def seconds(self) -> dict[str, float]:
        """By ``<name>_s``, rounded; ``read_s`` sums over threads, ``wait_s`` is what was waited for of it."""
        found = {**self._seconds, "total": time.perf_counter() - self._began}
        return {f"{name}_s": round(s, 3) for name, s in sorted(found.items())}
