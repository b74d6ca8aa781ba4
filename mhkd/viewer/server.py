"""The page's web server: this machine only, read only, a fixed list of addresses."""

import errno
import json
import logging
import re
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files

from mhkd.errors import InputError

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
# What the page is made of; a file that is not in this list cannot be asked for.
STATIC = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/slide_view.js": ("slide_view.js", "text/javascript; charset=utf-8"),
    "/marks.js": ("marks.js", "text/javascript; charset=utf-8"),
    "/scale_bar.js": ("scale_bar.js", "text/javascript; charset=utf-8"),
    "/openseadragon.min.js": ("openseadragon/openseadragon.min.js", "text/javascript; charset=utf-8"),
}
_SLIDE = re.compile(r"/slides/(\d{1,6})")
_DZI = re.compile(r"/tiles/(\d{1,6})-([0-9a-f]{16})\.dzi")
_TILE = re.compile(r"/tiles/(\d{1,6})-([0-9a-f]{16})_files/(\d{1,2})/(\d{1,6})_(\d{1,6})\.jpeg")
_HEADERS = {
    # Nothing from elsewhere is loaded, whatever a slide's or a class's name contains.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def make_server(slides, title, port):
    """A server that is bound and not yet serving.

    Args:
        slides (list[ShownSlide]): to show.
        title (str): of the page.
        port (int): 0 takes any that is free.

    Returns:
        ThreadingHTTPServer: see ``serve_forever``; its ``server_port`` is the port.

    Raises:
        InputError: the port is in use or not allowed.
    """
    try:
        server = ThreadingHTTPServer((ADDRESS, port), partial(_Handler, slides, title))
    except (OSError, OverflowError) as e:
        reason = "is in use" if getattr(e, "errno", None) == errno.EADDRINUSE else f"cannot be used ({e})"
        raise InputError(f"port {port} {reason}: give another with --port, or 0 for any free one") from e
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mhkd", ""

    def __init__(self, slides, title, *args):
        self._slides, self._title = slides, title
        super().__init__(*args)

    def do_GET(self):
        host = self.headers.get("Host", "")
        port = self.server.server_port
        if host not in (f"{ADDRESS}:{port}", f"localhost:{port}"):
            # Another site's name made to point here (DNS rebinding) must not read slides.
            return self._fail(HTTPStatus.FORBIDDEN, f"this page is at http://{ADDRESS}:{port}/ only")
        try:
            self._answer(self.path.partition("?")[0])
        except LookupError:
            self._fail(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        except InputError as e:
            logger.error("%s", e)
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, str(e))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the page has moved on

    def _answer(self, path):
        if path in STATIC:
            name, kind = STATIC[path]
            self._send((files("mhkd.viewer") / "static" / name).read_bytes(), kind, "no-cache")
        elif path == "/slides":
            slides = [s.heading() for s in self._slides]
            self._send_json({"title": self._title, "slides": slides})
        elif found := _SLIDE.fullmatch(path):
            self._send_json(self._slides[int(found[1])].content())
        elif found := _DZI.fullmatch(path):
            self._send(self._deep_zoom(found).dzi.encode(), "application/xml", "no-cache")
        elif found := _TILE.fullmatch(path):
            tile = self._deep_zoom(found).tile(*(int(found[k]) for k in (3, 4, 5)))
            self._send(tile, "image/jpeg", "private, max-age=86400")  # the address has the slide's key
        else:
            raise LookupError

    def _deep_zoom(self, found):
        slide = self._slides[int(found[1])]
        if slide.deep_zoom is None or slide.key != found[2]:
            raise LookupError
        return slide.deep_zoom

    def _send_json(self, content):
        body = json.dumps(content, allow_nan=False).encode()
        self._send(body, "application/json", "no-cache")

    def _fail(self, status, message):
        self._send(f"{message}\n".encode(), "text/plain; charset=utf-8", "no-store", status)

    def _send(self, body, kind, cache, status=HTTPStatus.OK):
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": len(body), "Cache-Control": cache, **_HEADERS}
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Requests are not worth a line."""
