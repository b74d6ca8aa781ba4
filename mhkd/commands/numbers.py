"""Numbers that options take; what cannot be meant is refused before anything is done."""

import math
from typing import Any, NoReturn

import click


class _Named:
    """A click type whose errors read "--workers 0 is not in the range x>=1"."""

    def fail(
        self, message: str, param: click.Parameter | None = None, ctx: click.Context | None = None
    ) -> NoReturn:
        raise click.BadParameter(f"{param.opts[-1]} {message}" if param else message, ctx)


class Whole(_Named, click.IntRange):
    """A whole number."""


class Number(_Named, click.FloatRange):
    """A finite number: nan passes every comparison of a FloatRange."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


FROM_0, FROM_1, FROM_2 = (Whole(min=n) for n in range(3))
SEED = Whole(0, 2**32 - 1)  # numpy takes no other
PORT = Whole(0, 65535)
SHARE = Number(0, 1)
AT_LEAST_0 = Number(min=0)
ABOVE_0 = Number(min=0, min_open=True)


def whole_numbers(text: str, option: str, least: int = 0) -> list[int]:
    """Numbers such as "0,1,2" as a list.

    Raises:
        click.BadParameter: it is empty, one is no whole number, below ``least`` or there twice.
    """
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < least or len(set(numbers)) < len(numbers):
        raise click.BadParameter(
            f"{option} {text!r}: give whole numbers of at least {least}, each once, with commas between"
        )
    return numbers
