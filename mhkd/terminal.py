"""What is said on a terminal: names are anyone's, and what a terminal obeys in one is spelt out."""

import logging
import unicodedata

import click

_OBEYED = ("Cc", "Cf", "Zl", "Zp")  # controls, marks that turn the direction of what follows, line ends


def legible(text: str) -> str:
    """A name or a message as one line; names of files that are no UTF-8 stay as they are."""
    if text.isprintable():
        return text
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) in _OBEYED else c for c in text)


def say(text: object = "", *, err: bool = False) -> None:
    """Print a text, whose own line breaks stay; on the error stream with ``err``."""
    click.echo(legible_lines(str(text)), err=err)


def legible_lines(text: str) -> str:
    """The same of a text whose own line breaks stay."""
    return "\n".join(map(legible, text.split("\n")))


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return legible_lines(super().format(record))


def show_warnings() -> None:
    """Warnings of this process go to its error stream, unless they go somewhere already."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
