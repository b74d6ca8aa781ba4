"""Which folds a table is trained and scored on."""

from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True)
class Folds:
    """What a table is trained and scored on.

    Attributes:
        count: folds that train and val together are divided into.
        only: the number of the one that is used, from 1; None: all, their results pooled.
        by: what stays together: "patient", "slide" or "image".
    """

    count: int = 5
    only: int | None = None
    by: str = "patient"

    def __post_init__(self) -> None:
        if self.only is not None and not 1 <= self.only <= self.count:
            raise InputError(f"--fold {self.only}: choose one of 1 to {self.count} (--folds)")

    @property
    def numbers(self) -> list[int]:
        return [self.only] if self.only else list(range(1, self.count + 1))

    @property
    def name(self) -> str:
        """Of all that are used: "slidefold1of5", or "slidefolds5"."""
        return self.folder(self.only) if self.only else f"{self._prefix}folds{self.count}"

    @property
    def suffix(self) -> str:
        """Of the files of a table of classification."""
        return f"_fold{self.only}" if self.only else ""

    def folder(self, number: int) -> str:
        """Of the trainings of one, as in the name of its datasets, see :mod:`mhkd.data.folds`."""
        return f"{self._prefix}fold{number}of{self.count}"

    @property
    def _prefix(self) -> str:
        return "" if self.by == "patient" else self.by
