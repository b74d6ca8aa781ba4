"""Connections of the page's server: a thread each, none for ever, and no more than so many."""

import contextlib
import ctypes
import logging
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.client import LineTooLong
from http.server import ThreadingHTTPServer
from io import BufferedIOBase
from socketserver import TCPServer
from typing import Any

logger = logging.getLogger(__name__)

# A connection is closed that for so long has neither asked a whole question nor taken its answer, however
# slowly it goes on; of too many (a browser opens six) the one that has been idle the longest is.
IDLE_S, MAX_CONNECTIONS = 60, 128
_M_ARENA_MAX, ARENAS = -8, 2  # glibc's number of this setting, see few_arenas
MAX_HEAD_BYTES = 32768  # of a question without its body: cookies of all programs of this machine come along
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 21\r\n\r\ntoo many connections\n"
)


def few_arenas() -> None:
    """Let all threads of this process share what memory any of them has given back; before there are many.

    Else glibc keeps it apart for up to eight threads of each core, about 6 MB each after they made tiles.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


class PageServer(ThreadingHTTPServer):
    """A thread a connection: see IDLE_S and MAX_CONNECTIONS."""

    daemon_threads = True
    request_queue_size = 64
    allow_reuse_address = sys.platform != "win32"  # there another program could take the port

    def __init__(self, *args: Any) -> None:
        self._lock = threading.Lock()
        # Connection -> seconds of time.monotonic(), of its begin or its last answer.
        self._idle_since: dict[Any, float] = {}
        self.answering: set[Any] = set()  # connections
        self.token = secrets.token_urlsafe(32)  # without it nothing is changed
        super().__init__(*args)

    def server_bind(self) -> None:
        """Without HTTPServer's question for this machine's name, which may go out to be answered."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @contextlib.contextmanager
    def answers(self, connection: Any) -> Iterator[None]:
        """Within it a connection is not idle: all of its question is here, and none of the answer is sent."""
        with self._lock:
            if connection in self._idle_since:
                self.answering.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self.answering.discard(connection)
                if connection in self._idle_since:
                    self._idle_since[connection] = time.monotonic()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._close_idle(MAX_CONNECTIONS - 1)
        with self._lock:
            is_full = len(self._idle_since) >= MAX_CONNECTIONS  # all of them are being answered
            if not is_full:
                self._idle_since[request] = time.monotonic()
        if not is_full:
            return super().process_request(request, client_address)
        with contextlib.suppress(OSError):
            request.setblocking(False)
            request.send(_BUSY)
        self.shutdown_request(request)

    def service_actions(self) -> None:
        """Called between requests and twice a second."""
        self._close_idle(MAX_CONNECTIONS)

    def _close_idle(self, most: int) -> None:
        """Closes what has been idle for too long, and as many more as leave ``most``."""
        with self._lock:
            idle = sorted(self._idle_since.keys() - self.answering, key=self._idle_since.__getitem__)
            surplus = max(0, len(self._idle_since) - most)
            for number, connection in enumerate(idle):
                if number < surplus or self._idle_since[connection] < time.monotonic() - IDLE_S:
                    del self._idle_since[connection]
                    with contextlib.suppress(OSError):  # gone already
                        connection.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and ends

    def server_close(self) -> None:
        """Ends every conversation too."""
        super().server_close()
        with self._lock:
            for connection in self._idle_since:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._idle_since.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):  # the page has moved on
            logger.error("the page's server: %s: %s", type(error).__name__, error)


class Head:
    """The lines of a request's head, of which there are no more than so many bytes."""

    def __init__(self, file: BufferedIOBase, max_bytes: int) -> None:
        self._file, self._left = file, max_bytes

    def readline(self, limit: int) -> bytes:
        """One of them, as of a file.

        Raises:
            LineTooLong: there are more, which the base class of the handler answers.
        """
        line = self._file.readline(min(limit, max(0, self._left) + 1))
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("head of the request")
        return line
