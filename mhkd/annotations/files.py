"""Opens annotation files: JSON in little memory, XML without its dangers, all errors one kind."""

import contextlib
import json
import os
from functools import cached_property
from typing import Any
from xml.sax import SAXException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

import defusedxml.sax
import numpy as np

from ..errors import InputError
from ..slides.magic import read_head

MAX_BYTES = 2**30  # an annotation file beyond this is not one of a slide
AGAIN = "export the annotations again"
MAY_BE_EMPTY = ".txt"  # YOLO's labels of an image without objects


class AnnotationFile:
    """A file that formats look at to see whether it is of theirs; each look is taken once."""

    def __init__(self, path: str) -> None:
        """
        Raises:
            InputError: see :func:`read_annotation_head`.
        """
        self.path = path
        self.head = read_annotation_head(path)  # the first 4096 bytes
        begin = self.head.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")[:1]  # marks of UTF-8, -16, -32; blanks
        self.is_xml, self.is_json = begin == b"<", begin in (b"{", b"[")

    @cached_property
    def json(self) -> Any:
        """The content of a JSON file, see :func:`load_json`; None where it does not begin like one.

        Raises:
            InputError: no JSON after all.
        """
        return load_json(self.path) if self.is_json else None

    @cached_property
    def xml_root(self) -> str | None:
        """The name of the root element of an XML file; None where it does not begin like one.

        Raises:
            InputError: no XML after all, or XML that is not read, see :func:`parse_xml`.
        """
        if not self.is_xml:
            return None
        root = _Root()
        with contextlib.suppress(_RootFound):
            parse_xml(self.path, root)
        return root.name


def read_annotation_head(path: str | os.PathLike[str], size: int = 4096) -> bytes:
    """How the file begins.

    Raises:
        InputError: missing, empty (but for YOLO's labels), unreadable or too large.
    """
    again = None if os.fspath(path).lower().endswith(MAY_BE_EMPTY) else AGAIN
    head, n = read_head(path, "annotation file", again, size)
    if n > MAX_BYTES:
        raise InputError(f"{path}: {n / 2**30:.1f} GiB of annotations: split the file")
    return head


def read_text(path: str | os.PathLike[str]) -> str:
    """The content of a file in UTF-8, -16 or -32.

    Raises:
        InputError: not in one of these.
    """
    with open(path, "rb") as f:
        raw = f.read()
    try:
        return raw.decode(json.detect_encoding(raw))
    except UnicodeDecodeError as e:
        raise InputError(
            f"{path}: byte {e.start} is not {e.encoding}: save the file as UTF-8, or {AGAIN}"
        ) from e


def load_json(path: str | os.PathLike[str]) -> Any:
    """The content of a JSON file, with lists of numbers as float64 arrays.

    They are packed as soon as the object around them is complete: memory stays near the size of
    the file, where Python's lists would take six times as much.

    Raises:
        InputError: no JSON.
    """
    try:
        return json.loads(read_text(path), object_hook=_pack_values)
    except (ValueError, RecursionError) as e:
        raise InputError(f"{path}: is no valid JSON, or cut short ({e}): {AGAIN}") from e


def _pack_values(obj: dict[str, Any]) -> dict[str, Any]:
    for key, value in obj.items():
        if isinstance(value, list) and value:
            obj[key] = _packed(value)
    return obj


def _packed(value: list[Any]) -> np.ndarray | list[Any]:
    """A list of numbers, or of lists of them, as an array; else the list, its parts packed."""
    first = value[0]
    if isinstance(first, (int, float, list)) and not isinstance(first, bool):
        with contextlib.suppress(ValueError, OverflowError):  # lists of unequal lengths
            array = np.array(value)
            if array.dtype.kind in "iuf":
                return array.astype(np.float64)
        return [_packed(v) if isinstance(v, list) and v else v for v in value]
    return value


def parse_xml(path: str | os.PathLike[str], handler: ContentHandler) -> None:
    """Run a SAX handler over an XML file.

    Raises:
        InputError: broken XML, or XML with a document type (entities, external files).
    """
    try:
        with open(path, "rb") as f:
            defusedxml.sax.parse(f, handler, forbid_dtd=True)
    except defusedxml.DefusedXmlException as e:
        raise InputError(
            f"{path}: declares a document type or entities, which annotations never need and "
            f"attacks do: {AGAIN}"
        ) from e
    except InputError:
        raise
    except (SAXException, ValueError, LookupError) as e:  # wrong encodings are the latter two
        raise InputError(f"{path}: is no valid XML, or cut short ({e}): {AGAIN}") from e


class _RootFound(Exception):
    pass


class _Root(ContentHandler):
    """Ends at the first element."""

    name: str | None = None

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        self.name = name
        raise _RootFound
