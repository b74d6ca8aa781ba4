"""Clients that ask as the page does, each with a connection of its own, which is kept for a while."""

import contextlib
import http.client
import json
import math
import os
import random
import re
import subprocess
import sys
import threading
import uuid

PAUSE_S = 0.2  # of a client between an answer and the next question
TILES = 20  # that a client looks at before it opens the page anew


@contextlib.contextmanager
def serving(out, more="", environment=()):
    """`mhkd view` of a folder of results, as a process of its own, and its port; `more` is Python that it
    runs before it begins."""
    program = f"{more}\nfrom mhkd.cli import main\nmain()"
    command = [sys.executable, "-c", program, "view", str(out), "--port", "0", "--no-browser"]
    environment = {**os.environ, **dict(environment)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process, int(re.search(r":(\d+)/", process.stdout.readline())[1])
        finally:
            process.kill()


class Client:
    """Opens the page again and again: the list, the slide, tiles and what others say of it; then says a word.

    It asks while an event, ``go_on``, is set.

    Attributes:
        answers: how many it has got.
        asking: a lock that is held while it waits for one.
    """

    def __init__(self, port, seed, go_on):
        self._go_on, self.port, self._random = go_on, port, random.Random(seed)
        self.answers, self.asking = 0, threading.Lock()
        self._failed, self._ended = None, threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def end(self):
        """Raises what it met."""
        self._ended.set()
        self._thread.join()
        if self._failed:
            raise self._failed

    def _go(self):
        try:
            while not self._ended.is_set():
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as c:
                    self._look(c)
        except Exception as e:
            self._failed = e

    def _look(self, connection):
        token = json.loads(self._ask(connection, "/slides"))["token"]
        slide = json.loads(self._ask(connection, "/slides/0"))
        place, (width, height), since = f"0-{slide['key']}", slide["size_px"], slide["since"]
        dzi = self._ask(connection, f"/tiles/{place}.dzi").decode()
        tile_px, top = int(re.search(r'TileSize="(\d+)"', dzi)[1]), math.ceil(math.log2(max(width, height)))
        for _ in range(TILES):
            if self._ended.is_set():
                return
            level = self._random.randint(top - 3, top)
            column, row = (
                self._random.randrange(math.ceil(n / 2 ** (top - level) / tile_px)) for n in (width, height)
            )
            self._ask(connection, f"/tiles/{place}_files/{level}/{column}_{row}.jpeg")
            since = json.loads(self._ask(connection, f"/corrections/{place}/{since}"))["since"]
        x, y = (self._random.randrange(n - 20) for n in (width, height))
        number = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        word = {"id": number, "box_px": [x, y, x + 10, y + 10], "verdict": "rejected", "class_name": None}
        self._ask(connection, f"/corrections/{place}/{since}", word, token)

    def _ask(self, connection, path, sent=None, token=""):
        self._ended.wait(PAUSE_S)
        self._go_on.wait()
        if sent is None:
            question = "GET", path
        else:
            origin = f"http://127.0.0.1:{self.port}"
            headers = {"Content-Type": "application/json", "X-MHKD-Token": token, "Origin": origin}
            question = "POST", path, json.dumps(sent), headers
        with self.asking:
            try:
                answer = _answer(connection, *question)
            except ConnectionError:  # closed after a minute of nothing: a browser asks again too
                connection.close()
                answer = _answer(connection, *question)
            content = answer.read()
            assert answer.status == 200, f"{path}: {answer.status} {content}"
            self.answers += 1
        return content


def _answer(connection, *question):
    connection.request(*question)
    return connection.getresponse()
