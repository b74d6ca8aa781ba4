"""Which requests may change something: those that the page itself sends.

A page of another site may make a browser send something to this machine. It cannot read the token, which is
in an answer; it cannot send a header of its own, nor JSON, without leave, which nobody gives; and the browser
says whose page it is.
"""

import hmac
import json
from email.message import Message
from http import HTTPStatus
from io import BufferedIOBase
from typing import Any

from ..errors import InputError

MAX_BYTES = 4096  # of what is sent: one correction
TOKEN = "X-MHKD-Token"


class Refused(Exception):
    """Attributes:
    status: of the answer.
    unread: what was sent is still to be read, so that the connection is of no more use.
    """

    def __init__(self, status: HTTPStatus, message: str, unread: bool = False) -> None:
        super().__init__(message)
        self.status, self.unread = status, unread


def sent_json(headers: Message, body: BufferedIOBase, token: str) -> Any:
    """What the page sent.

    Args:
        headers: of the request, whose Host is one of this machine's.
        body: the request from there on.
        token: that the page knows.

    Raises:
        Refused: too much, not of the page itself, or no JSON.
    """
    length, *others = headers.get_all("Content-Length", [""])
    if others or not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in headers:
        raise Refused(HTTPStatus.LENGTH_REQUIRED, "the length of what is sent must be said", unread=True)
    if len(length) > 9 or int(length) > MAX_BYTES:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MAX_BYTES} bytes", unread=True)
    content = body.read(int(length))
    if headers.get("Origin") != f"http://{headers.get('Host')}" or (
        headers.get("Sec-Fetch-Site", "same-origin") != "same-origin"
    ):
        raise Refused(HTTPStatus.FORBIDDEN, "only this page itself may change something")
    if not hmac.compare_digest(headers.get(TOKEN, "").encode(), token.encode()):
        raise Refused(HTTPStatus.FORBIDDEN, "the server was started anew: load this page anew")
    if headers.get_content_type() != "application/json":
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "JSON is needed")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as e:
        raise Refused(HTTPStatus.BAD_REQUEST, f"what was sent is no JSON ({e})") from e


def keep(slide: Any, sent: Any, number: int) -> dict[str, Any]:
    """See :meth:`mhkd.viewer.corrections.PageCorrections.keep`.

    Raises:
        Refused: what is sent is no correction of the slide, or nothing there can be corrected.
    """
    if slide.locked:
        raise Refused(HTTPStatus.CONFLICT, f"not kept: {slide.locked}")
    try:
        answer: dict[str, Any] = slide.corrections.keep(sent, number)
        return answer
    except InputError:
        raise
    except ValueError as e:
        raise Refused(HTTPStatus.BAD_REQUEST, f"not kept: what was sent {e}") from e
