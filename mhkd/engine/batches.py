"""The batches of a step, and what an iteration drew for them."""

from collections.abc import Iterator
from typing import Any

from detectron2.utils import comm
from torch.utils.data import DataLoader

from .skipped import SkippedImages


class Batches(Iterator[list[dict[str, Any]]]):
    """This process's batches of a loader of :func:`mhkd.data.loader.build_train_loader`."""

    def __init__(self, loader: DataLoader[Any], skipped: SkippedImages):
        self._batches, self._draws = iter(loader), iter(loader.sampler)
        self._skipped = skipped
        self.begin(0)

    def begin(self, iteration: int) -> None:
        """An iteration; what the one before it drew is forgotten."""
        self._iteration = iteration
        self._drawn: list[tuple[int, str, list[tuple[str, str]]]] = []

    def __next__(self) -> list[dict[str, Any]]:
        """Raises InputError where none of the images that may stand in for one can be read."""
        batch = next(self._batches)
        for entry, draw in zip(batch, self._draws):
            self._drawn.append((draw, entry.get("file_name", ""), entry.pop("skipped", [])))
        if not all(batch):  # nothing but "skipped"
            self._note()
        return batch

    def exchange(self, losses: dict[str, float]) -> list[dict[str, float]]:
        """Tell the other processes what was drawn, and note what was skipped.

        Args:
            losses: of this process.

        Returns:
            Those of each process.

        Raises:
            InputError: more was skipped than may be.
        """
        everyone = comm.all_gather((self._drawn, losses))
        self._drawn = sorted(one for drawn, _ in everyone for one in drawn)
        self._note()
        return [losses for _, losses in everyone]

    @property
    def images(self) -> list[tuple[int, str]]:
        """Draw and file name of what the iteration drew, after :meth:`exchange` in all processes."""
        return [(draw, name) for draw, name, _ in self._drawn]

    def _note(self) -> None:
        found = [(draw, *one) for draw, _, skipped in self._drawn for one in skipped]
        self._skipped.add(self._iteration, found)
