"""The page's web server: this machine only, a fixed list of addresses, of which one takes corrections.

Written by hand over the standard library's: a framework would be a dependency for nine kinds of address.
"""

import contextlib
import errno
import json
import logging
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from ..corrections.fields import next_fields
from ..errors import InputError
from .content import DamagedSlide, ShownSlide
from .tiles import DeepZoom
from .writes import Refused, keep, sent_json

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
# What the page is made of; a file that is not in this list cannot be asked for.
_SCRIPTS = (
    "page", "slide_view", "marks", "compare", "histogram", "list", "address", "scale_bar", "corrections",
    "drawing", "fields", "editor",
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
# A connection that has asked nothing for so long is closed, however slowly it goes on sending; of too many
# connections (a browser opens six) the one that has been idle the longest is.
IDLE_S, MAX_CONNECTIONS = 60, 128
_HEADERS = {
    # Nothing from elsewhere is loaded, whatever a slide's or a class's name contains.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def make_server(slides: Sequence[ShownSlide | DamagedSlide], title: str, port: int) -> "PageServer":
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


class PageServer(ThreadingHTTPServer):
    """A thread a connection, none of which is kept for ever: see IDLE_S and MAX_CONNECTIONS."""

    daemon_threads = True
    request_queue_size = 64
    allow_reuse_address = sys.platform != "win32"  # there another program could take the port

    def __init__(self, *args: Any) -> None:
        self._lock = threading.Lock()
        # Connection -> seconds of time.monotonic(), of its last request.
        self._asked_at: dict[Any, float] = {}
        self.answering: set[Any] = set()  # connections
        self.token = secrets.token_urlsafe(32)  # without it nothing is changed
        super().__init__(*args)

    @contextlib.contextmanager
    def answers(self, connection: Any) -> Iterator[None]:
        """Within it, a connection is not closed for having been idle."""
        with self._lock:
            if connection in self._asked_at:
                self._asked_at[connection] = time.monotonic()
                self.answering.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self.answering.discard(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._asked_at[request] = time.monotonic()
        self.service_actions()
        if len(self._asked_at) > MAX_CONNECTIONS:  # all of them are being answered
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Called between requests and twice a second: closes what has been idle for too long."""
        with self._lock:
            idle = sorted(self._asked_at.keys() - self.answering, key=self._asked_at.__getitem__)
            surplus = max(0, len(self._asked_at) - MAX_CONNECTIONS)
            for number, connection in enumerate(idle):
                if number < surplus or self._asked_at[connection] < time.monotonic() - IDLE_S:
                    del self._asked_at[connection]
                    with contextlib.suppress(OSError):  # gone already
                        connection.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and ends

    def server_close(self) -> None:
        """Ends every conversation too."""
        super().server_close()
        with self._lock:
            for connection in self._asked_at:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._asked_at.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):  # the page has moved on
            logger.error("the page's server: %s: %s", type(error).__name__, error)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mhkd", ""
    timeout = IDLE_S  # of one read, and of all that is sent of one answer
    # Headers and body are sent one after the other: else the second waits 40 ms for the browser to confirm.
    disable_nagle_algorithm = True

    def __init__(self, slides: Sequence[ShownSlide | DamagedSlide], title: str, *args: Any) -> None:
        self._slides, self._title = slides, title
        super().__init__(*args)

    def do_GET(self) -> None:
        with self.server.answers(self.connection):
            self._reply(self._answer)

    def do_POST(self) -> None:
        with self.server.answers(self.connection):
            self._reply(self._take)

    def _reply(self, answer: Callable[[str], None]) -> None:
        if not _HOST.fullmatch(self.headers.get("Host", "")):
            self.close_connection = self.command != "GET"  # what was sent with it is not read
            address = f"http://{ADDRESS}:{self.server.server_port}/"
            return self._fail(HTTPStatus.FORBIDDEN, f"this page is at {address} only")
        try:
            answer(self.path.partition("?")[0])
        except Refused as e:
            self.close_connection |= e.unread
            self._fail(e.status, str(e))
        except LookupError:
            self._fail(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        except InputError as e:
            logger.error("%s", e)
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, str(e))
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the page has moved on

    def _answer(self, path: str) -> None:
        if path in STATIC:
            name, kind = STATIC[path]
            self._send((files("mhkd.viewer") / "static" / name).read_bytes(), kind, "no-cache")
        elif path == "/slides":
            slides = [s.heading() for s in self._slides]
            self._send_json({"title": self._title, "slides": slides, "token": self.server.token})
        elif path == "/fields":
            self._send_json(self._fields())
        elif found := _SLIDE.fullmatch(path):
            self._send_json(self._slides[int(found[1])].content())
        elif found := _CORRECTIONS.fullmatch(path):
            self._send_json(self._slide(found).corrections.after(int(found[3])))
        elif found := _CORRECTED.fullmatch(path):
            content = self._slide(found).corrections.geojson(float(found[3]))
            self._send(content, "application/geo+json", "no-store")
        elif found := _DZI.fullmatch(path):
            self._send(self._deep_zoom(found).dzi.encode(), "application/xml", "no-cache")
        elif found := _TILE.fullmatch(path):
            tile = self._deep_zoom(found).tile(*(int(found[k]) for k in (3, 4, 5)))
            self._send(tile, "image/jpeg", "private, max-age=86400")  # the address has the slide's key
        else:
            raise LookupError

    def _take(self, path: str) -> None:
        sent = sent_json(self.headers, self.rfile, self.server.token)
        found = _CORRECTIONS.fullmatch(path)
        if found is None:
            raise LookupError
        self._send_json(keep(self._slide(found), sent, int(found[3])))

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

    def _send_json(self, content: Any) -> None:
        body = json.dumps(content, allow_nan=False).encode()
        self._send(body, "application/json", "no-cache")

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self._send(f"{message}\n".encode(), "text/plain; charset=utf-8", "no-store", status)

    def _send(self, body: bytes, kind: str, cache: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": len(body), "Cache-Control": cache}
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class answers to requests that it does not understand."""
        self.close_connection = True
        self._fail(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *args: Any) -> None:
        """Requests are not worth a line."""
