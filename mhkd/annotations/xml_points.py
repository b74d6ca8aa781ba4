"""Points of an outline, gathered from the attributes of XML elements."""

from array import array

import numpy as np

from .collect import MAX_COORDINATE_PX, Collector


class Points:
    """(x, y) pairs in 16 bytes each."""

    def __init__(self, collector: Collector, where: str) -> None:
        self._out, self.where = collector, where
        self._values = array("d")

    def add(self, x: str | None, y: str | None) -> None:
        """Append a point given as text; a decimal comma, which some locales write, counts."""
        try:
            x_px, y_px = float((x or "").replace(",", ".")), float((y or "").replace(",", "."))
        except ValueError as e:
            raise self._out.error(self.where, f"has the point ({x}, {y})"[:80]) from e
        if not (abs(x_px) <= MAX_COORDINATE_PX and abs(y_px) <= MAX_COORDINATE_PX):
            raise self._out.error(self.where, "has coordinates that are not finite or far off any slide")
        self._values.append(x_px)
        self._values.append(y_px)

    def xy(self) -> np.ndarray:
        """float64, shape (n, 2)."""
        return np.array(self._values).reshape(-1, 2)
