"""Opens annotation files: JSON in little memory, XML without its dangers, all errors one kind."""

import json
from xml.sax import SAXException
from xml.sax.handler import ContentHandler

import defusedxml.sax
import numpy as np

from ..errors import InputError
from ..slides.magic import read_head

MAX_BYTES = 2**30  # an annotation file beyond this is not one of a slide
AGAIN = "export the annotations again"


def read_annotation_head(path, size=4096):
    """bytes: how the file begins.

    Raises:
        InputError: missing, empty, unreadable or too large.
    """
    head, n = read_head(path, "annotation file", AGAIN, size)
    if n > MAX_BYTES:
        raise InputError(f"{path}: {n / 2**30:.1f} GiB of annotations: split the file")
    return head


def read_text(path):
    """str: the file, in UTF-8, -16 or -32.

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


def load_json(path):
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


def _pack_values(obj):
    for key, value in obj.items():
        if isinstance(value, list) and value:
            obj[key] = _packed(value)
    return obj


def _packed(value):
    """A list of numbers, or of lists of them, as an array; else the list, its parts packed."""
    first = value[0]
    if isinstance(first, (int, float, list)) and not isinstance(first, bool):
        try:
            array = np.array(value)
        except (ValueError, OverflowError):  # lists of unequal lengths
            array = None
        if array is not None and array.dtype.kind in "iuf":
            return array.astype(np.float64)
        return [_packed(v) if isinstance(v, list) and v else v for v in value]
    return value


def parse_xml(path, readers, collector):
    """Run a SAX handler over an XML file.

    Args:
        path (str): file.
        readers (dict): name of the root element -> handler class, made with ``collector``.
        collector (Collector): what the handler fills.

    Returns:
        The handler; None if there is none for the root element.

    Raises:
        InputError: broken XML, or XML with a document type (entities, external files).
    """
    root = _Root(readers, collector)
    try:
        with open(path, "rb") as f:
            defusedxml.sax.parse(f, root, forbid_dtd=True)
    except _UnknownRoot:
        return None
    except defusedxml.DefusedXmlException as e:
        raise InputError(
            f"{path}: declares a document type or entities, which annotations never need and "
            f"attacks do: {AGAIN}"
        ) from e
    except InputError:
        raise
    except (SAXException, ValueError, LookupError) as e:  # wrong encodings are the latter two
        raise InputError(f"{path}: is no valid XML, or cut short ({e}): {AGAIN}") from e
    return root.handler


class _UnknownRoot(Exception):
    pass


class _Root(ContentHandler):
    """Hands everything on to the handler that the root element stands for."""

    def __init__(self, readers, collector):
        super().__init__()
        self._readers, self._collector = readers, collector
        self.handler = None

    def startElement(self, name, attrs):
        if name not in self._readers:
            raise _UnknownRoot
        self.handler = self._readers[name](self._collector)
        self.startElement, self.endElement = self.handler.startElement, self.handler.endElement
