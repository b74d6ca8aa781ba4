"""The page's web server: this machine only, a fixed list of addresses, of which one takes corrections.

Written by hand over the standard library's: a framework would be a dependency for nine kinds of address.
"""

import errno
import json
import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from typing import Any, NamedTuple, cast

from ..corrections.fields import next_fields
from ..errors import InputError
from .connections import IDLE_S, MAX_HEAD_BYTES, Head, PageServer
from .content import DamagedSlide, ShownSlide
from .tiles import DeepZoom
from .writes import Refused, keep, sent_json

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
# What the page is made of; a file that is not in this list cannot be asked for.
_SCRIPTS = (
    "page", "slide_view", "marks", "compare", "histogram", "list", "address", "scale_bar", "corrections",
    "drawing", "fields", "editor", "names", "shapes",
)  # fmt: skip
_SCRIPT = "text/javascript; charset=utf-8"
STATIC = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/openseadragon.min.js": ("openseadragon/openseadragon.min.js", _SCRIPT),
    **{f"/{name}.js": (f"{name}.js", _SCRIPT) for name in _SCRIPTS},
}
_SLIDE = re.compile(r"/slides/(\d{1,6})")
_DZI = re.compile(r"/tiles/(\d{1,6})-([0-9a-f]{16})\.dzi")
_TILE = re.compile(r"/tiles/(\d{1,6})-([0-9a-f]{16})_files/(\d{1,2})/(\d{1,6})_(\d{1,6})\.jpeg")
# The words after so many, of a slide whose key the page knows; what is sent there is kept.
_CORRECTIONS = re.compile(r"/corrections/(\d{1,6})-([0-9a-f]{16})/(\d{1,9})")
_CORRECTED = re.compile(r"/corrected/(\d{1,6})-([0-9a-f]{16})/([01]\.\d\d)\.geojson")
NUM_FIELDS = 50  # that the page goes through
# Another site's name that is made to point here (DNS rebinding) is none of these. The port may be another
# one: that of an ssh tunnel's other end.
_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")
_HEADERS = {
    # Nothing from elsewhere is loaded, whatever a slide's or a class's name contains.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def make_server(slides: Sequence[ShownSlide | DamagedSlide], title: str, port: int) -> PageServer:
    """A server that is bound and not yet serving.

    Args:
        slides: to show.
        title: of the page.
        port: 0 takes any that is free.

    Returns:
        See ``serve_forever``; its ``server_port`` is the port.

    Raises:
        InputError: the port is in use or not allowed.
    """
    try:
        return PageServer((ADDRESS, port), partial(_Handler, slides, title))
    except (OSError, OverflowError) as e:
        reason = "is in use" if getattr(e, "errno", None) == errno.EADDRINUSE else f"cannot be used ({e})"
        raise InputError(f"port {port} {reason}: give another with --port, or 0 for any free one") from e


class _Reply(NamedTuple):
    body: bytes
    kind: str
    cache: str
    status: HTTPStatus = HTTPStatus.OK


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    raw_requestline: bytes
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mhkd", ""
    timeout = IDLE_S  # of one read, and of all that is sent of one answer
    # Headers and body are sent one after the other: else the second waits 40 ms for the browser to confirm.
    disable_nagle_algorithm = True

    def __init__(self, slides: Sequence[ShownSlide | DamagedSlide], title: str, *args: Any) -> None:
        self._slides, self._title = slides, title
        super().__init__(*args)

    def parse_request(self) -> bool:
        body = self.rfile
        self.rfile = cast(Any, Head(body, MAX_HEAD_BYTES - len(self.raw_requestline)))
        try:
            return super().parse_request()
        finally:
            self.rfile = body

    def do_GET(self) -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # what was sent with it is not read
        self._reply(self._answer)

    def do_POST(self) -> None:
        self._reply(self._take)

    def _reply(self, answer: Callable[[str], _Reply]) -> None:
        try:
            self._send(self._answer_or_refuse(answer))
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the page has moved on

    def _answer_or_refuse(self, answer: Callable[[str], _Reply]) -> _Reply:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            self.close_connection |= self.command != "GET"  # what was sent with it is not read
            address = f"http://{ADDRESS}:{self.server.server_port}/"
            return _refusal(HTTPStatus.FORBIDDEN, f"this page is at {address} only")
        try:
            return answer(self.path.partition("?")[0])
        except Refused as e:
            self.close_connection |= e.unread
            return _refusal(e.status, str(e))
        except LookupError:
            return _refusal(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        except InputError as e:
            logger.error("%s", str(e).encode(errors="backslashreplace").decode())  # a name may be no text
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, str(e))

    def _answer(self, path: str) -> _Reply:
        with self.server.answers(self.connection):
            return self._content(path)

    def _content(self, path: str) -> _Reply:
        if path in STATIC:
            name, kind = STATIC[path]
            return _Reply((files("mhkd.viewer") / "static" / name).read_bytes(), kind, "no-cache")
        elif path == "/slides":
            slides = [s.heading() for s in self._slides]
            return _json({"title": self._title, "slides": slides, "token": self.server.token})
        elif path == "/fields":
            return _json(self._fields())
        elif found := _SLIDE.fullmatch(path):
            return _json(self._slides[int(found[1])].content())
        elif found := _CORRECTIONS.fullmatch(path):
            return _json(self._slide(found).corrections.after(int(found[3])))
        elif found := _CORRECTED.fullmatch(path):
            content = self._slide(found).corrections.geojson(float(found[3]))
            return _Reply(content, "application/geo+json", "no-store")
        elif found := _DZI.fullmatch(path):
            return _Reply(self._deep_zoom(found).dzi.encode(), "application/xml", "no-cache")
        elif found := _TILE.fullmatch(path):
            tile = self._deep_zoom(found).tile(*(int(found[k]) for k in (3, 4, 5)))
            # The address has the slide's key.
            return _Reply(tile, "image/jpeg", "private, max-age=86400")
        raise LookupError

    def _take(self, path: str) -> _Reply:
        sent = sent_json(self.headers, self.rfile, self.server.token)
        found = _CORRECTIONS.fullmatch(path)
        if found is None:
            raise LookupError
        with self.server.answers(self.connection):
            return _json(keep(self._slide(found), sent, int(found[3])))

    def _slide(self, found: re.Match[str]) -> ShownSlide:
        slide = self._slides[int(found[1])]
        if not isinstance(slide, ShownSlide) or slide.key != found[2]:
            raise LookupError
        return slide

    def _deep_zoom(self, found: re.Match[str]) -> DeepZoom:
        deep_zoom = self._slide(found).deep_zoom
        if deep_zoom is None:
            raise LookupError
        return deep_zoom

    def _fields(self) -> list[dict[str, Any]]:
        """What to correct next, of all slides."""
        shown = {s.finished.folder: (k, s) for k, s in enumerate(self._slides) if isinstance(s, ShownSlide)}
        fields = []
        for one in next_fields([s.finished for _, s in shown.values()], NUM_FIELDS):
            k, slide = shown[one.slide.folder]
            for field in one.fields:
                box_px = slide.on_page(field.box_px)
                fields.append({"slide": k, "box_px": box_px, "unsure": field.unsure})
        return fields

    def _send(self, reply: _Reply) -> None:
        self.send_response(reply.status)
        headers = {
            "Content-Type": reply.kind, "Content-Length": len(reply.body), "Cache-Control": reply.cache,
        }  # fmt: skip
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(reply.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class answers to requests that it does not understand."""
        self.close_connection = True
        self._send(_refusal(HTTPStatus(code), message or HTTPStatus(code).phrase))

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *args: Any) -> None:
        """Requests are not worth a line."""


def _json(content: Any) -> _Reply:
    return _Reply(json.dumps(content, allow_nan=False).encode(), "application/json", "no-cache")


def _refusal(status: HTTPStatus, message: str) -> _Reply:
    # A file's name may have bytes that are no text.
    return _Reply(
        f"{message}\n".encode(errors="backslashreplace"), "text/plain; charset=utf-8", "no-store", status
    )
