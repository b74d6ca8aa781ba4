"""Points of an outline, gathered from the attributes of XML elements."""

from array import array

import numpy as np

from .collect import MAX_COORDINATE_PX


class Points:
    """(x, y) pairs in 16 bytes each."""

    def __init__(self, collector, where):
        self._out, self.where = collector, where
        self._values = array("d")

    def add(self, x, y):
        """Append a point given as text; a decimal comma, which some locales write, counts."""
        try:
            x, y = float(x.replace(",", ".")), float(y.replace(",", "."))
        except (AttributeError, ValueError) as e:
            raise self._out.error(self.where, f"has the point ({x}, {y})"[:80]) from e
        if not (abs(x) <= MAX_COORDINATE_PX and abs(y) <= MAX_COORDINATE_PX):
            raise self._out.error(self.where, "has coordinates that are not finite or far off any slide")
        self._values.append(x)
        self._values.append(y)

    def xy(self):
        """ndarray: float64, shape (n, 2)."""
        return np.array(self._values).reshape(-1, 2)
