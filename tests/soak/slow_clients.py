"""Connections to the page that ask or read slowly, 200 at once, while an honest one goes on.

Each kind is kept up for a while, closed ones opened anew; every question of the honest client is answered
within a bound. Then they only hold on: the server closes them by itself, and its threads and files are again
what they were.
"""

import contextlib
import http.client
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from mhkd.synthetic.slides import write_tiff

import numpy as np
from results_folder import write_result

NUM_SLOW, HONEST_S = 200, 20
ANSWER_S, GONE_S = 5, 90  # within which the honest client is answered, and the slow ones are gone
KINDS = ("mixed", "slow_head", "slow_body", "never_reads", "half_closed")
_HOST = b"Host: 127.0.0.1\r\n"
_BEGINS = {
    "slow_head": b"GET /slides HTTP/1.1\r\n" + _HOST + b"X-Slow: ",
    "slow_body": b"POST /corrections/0/0 HTTP/1.1\r\n" + _HOST + b"Content-Length: 4000\r\n\r\n",
    "never_reads": b"GET /openseadragon.min.js HTTP/1.1\r\n" + _HOST + b"\r\n",
    "half_closed": b"GET /slides HTTP/1.1\r\n" + _HOST,
}  # fmt: skip


def cases(full):
    return list(KINDS if full else KINDS[:2])


def run(case, folder):
    return check(case, folder, NUM_SLOW, HONEST_S)


def check(kind, folder, num_slow, honest_s, more=""):
    """("served", figures), or AssertionError; `more` is Python that the server runs before it begins."""
    with serving(folder, more) as (process, port):
        honest = Honest(port)
        honest.ask_all()
        honest.seconds.clear()  # the slide was opened
        before = settled(process.pid)
        slow = SlowClients(kind, port, num_slow)
        slow.go(honest, honest_s)
        begun = time.monotonic()
        after = during = resources(process.pid)
        while not after <= before and time.monotonic() < begun + GONE_S:
            slow.trickle(0.2)
            after = resources(process.pid)
        gone_s = time.monotonic() - begun
        slow.close()
        assert after <= before, f"{before} before, {after} after {slow.opened} slow connections"
        honest.ask_all()
        assert process.poll() is None
        slowest = max(honest.seconds)
        assert slowest < ANSWER_S, f"an answer took {slowest:.1f} s"
    figures = {
        "answers": len(honest.seconds), "opened": slow.opened, "slowest_answer_s": round(slowest, 3),
        "median_answer_s": round(float(np.median(honest.seconds)), 4), "gone_after_s": round(gone_s, 1),
        "threads": [before.threads, during.threads, after.threads],
        "files": [before.files, during.files, after.files],
    }  # fmt: skip
    return "served", figures


@contextlib.contextmanager
def serving(folder, more=""):
    """`mhkd view` as a process of its own, and its port."""
    write_tiff(folder / "a.tiff", np.full((600, 600, 3), 200, np.uint8), 1.0, "grey")
    write_result(folder / "out", folder / "a.tiff", [[10, 10, 60, 60]], [0.9], [0], size_px=(600, 600))
    program = f"{more}\nfrom mhkd.cli import main\nmain()"
    words = [sys.executable, "-c", program, "view", str(folder / "out"), "--no-browser", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process, int(re.search(r":(\d+)/", process.stdout.readline())[1])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@dataclass(frozen=True)
class Resources:
    """Of a process."""

    threads: int
    files: int

    def __le__(self, other):
        return self.threads <= other.threads and self.files <= other.files


def resources(pid):
    threads = re.search(r"Threads:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]
    return Resources(int(threads), len(os.listdir(f"/proc/{pid}/fd")))


def settled(pid):
    """Those that it has for a second: the last answer's thread has ended."""
    found = [resources(pid)]
    while len(found) < 10 or len(set(found[-10:])) > 1:
        time.sleep(0.1)
        found.append(resources(pid))
    return found[-1]


class Honest:
    """Asks as the page does, and keeps the seconds of each answer."""

    def __init__(self, port):
        self.port, self.seconds = port, []
        self.token = json.loads(self.ask("GET", "/slides"))["token"]
        self.key = json.loads(self.ask("GET", "/slides/0"))["key"]

    def ask(self, method, path, body=None, headers=()):
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        content = response.read()
        connection.close()
        assert response.status == 200, f"{path}: {response.status} {content}"
        self.seconds.append(time.monotonic() - begun)
        return content

    def ask_all(self):
        host = f"127.0.0.1:{self.port}"
        word = {
            "id": "12345678-1234-1234-1234-123456789abc", "box_px": [10, 10, 60, 60], "verdict": "rejected",
            "class_name": None,
        }  # fmt: skip
        headers = {"Content-Type": "application/json", "X-MHKD-Token": self.token, "Origin": f"http://{host}"}
        for path in ("/", "/openseadragon.min.js", "/slides", f"/tiles/0-{self.key}_files/10/0_0.jpeg"):
            self.ask("GET", path)
        self.ask("POST", f"/corrections/0-{self.key}/0", json.dumps(word), headers)


class SlowClients:
    def __init__(self, kind, port, count):
        self.kinds = KINDS[1:] if kind == "mixed" else (kind,)
        self.port, self.count, self.opened = port, count, 0
        self.selector = selectors.DefaultSelector()
        self.sockets = {}  # socket -> kind

    def open(self):
        kind = self.kinds[self.opened % len(self.kinds)]
        self.opened += 1
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(10)
        client.connect(("127.0.0.1", self.port))
        self.sockets[client] = kind
        with contextlib.suppress(ConnectionError):  # it was one too many already
            client.sendall(_BEGINS[kind])
            if kind == "half_closed":
                client.shutdown(socket.SHUT_WR)
        client.setblocking(False)
        if kind != "never_reads":
            self.selector.register(client, selectors.EVENT_READ)

    def drop(self, client):
        if self.sockets.pop(client) != "never_reads":
            self.selector.unregister(client)
        client.close()

    def go(self, honest, seconds):
        """Keeps as many open as there are to be, while the honest client asks."""
        failed = []

        def ask():
            try:
                while time.monotonic() < until:
                    honest.ask_all()
            except Exception as e:
                failed.append(e)

        until = time.monotonic() + seconds
        asking = threading.Thread(target=ask)
        asking.start()
        while asking.is_alive():
            for _ in range(self.count - len(self.sockets)):
                self.open()
            self.trickle(0.2)
        asking.join()
        if failed:
            raise failed[0]

    def trickle(self, seconds):
        """A byte of each that sends slowly, and what the others are told."""
        for client, kind in list(self.sockets.items()):
            try:
                if kind != "half_closed":
                    client.send(b"x")
            except BlockingIOError:
                pass
            except OSError:
                self.drop(client)
        for key, _ in self.selector.select(seconds):
            try:
                if not key.fileobj.recv(1 << 16):
                    self.drop(key.fileobj)
            except BlockingIOError:
                pass
            except OSError:
                self.drop(key.fileobj)

    def close(self):
        for client in list(self.sockets):
            self.drop(client)
