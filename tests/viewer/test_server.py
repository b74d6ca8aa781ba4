import contextlib
import http.client
import json
import shutil
import socket
import struct
import threading
import time

from mhkd.cli import main
from mhkd.slide_detection.checksum import checksum
from mhkd.slide_detection.finished import find_finished
from mhkd.synthetic.slides import to_geojson, write_tiff
from mhkd.viewer import connections
from mhkd.viewer.content import DamagedSlide, ShownSlide
from mhkd.viewer.server import STATIC, make_server

import numpy as np
import pytest
import pyvips
import shapely
from click.testing import CliRunner
from results_folder import write_result
from shapely.geometry import box

BOXES, SCORES, CLASSES = [[10, 20, 60, 70], [100, 100, 180, 200]], [0.9, 0.4], [0, 1]


@pytest.fixture
def out(tmp_path):
    slide = tmp_path / "slides" / "a.tiff"
    slide.parent.mkdir()
    write_tiff(slide, np.full((300, 400, 3), 200, np.uint8), 2.0, "grey")
    glomeruli = [(box(12, 20, 62, 70), "normal"), (box(300, 200, 350, 260), "normal")]
    slide.with_suffix(".geojson").write_text(json.dumps(to_geojson(glomeruli, 0)))
    write_result(tmp_path / "out", slide, BOXES, SCORES, CLASSES, size_px=(400, 300))
    return tmp_path / "out"


@pytest.fixture
def serve():
    """A function: results folder -> function (path, headers) -> (status, body, headers)."""
    running = []

    def begin(out, **options):
        server = make_server([ShownSlide(f, **options) for f in find_finished(out)[0]], "out", 0)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        running.append(server)

        def get(path, method="GET", **headers):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            found = response.status, response.read(), dict(response.headers)
            connection.close()
            return found

        get.port, get.server = server.server_port, server
        return get

    yield begin
    for server in running:
        server.shutdown()
        server.server_close()


def content(get, index=0):
    status, body, _ = get(f"/slides/{index}")
    assert status == 200
    return json.loads(body)


def test_content_has_boxes_annotations_and_units(out, serve):
    found = content(serve(out))
    assert found["name"] == "a.tiff" and found["problem"] is None and found["remark"] is None
    assert found["boxes_px"] == BOXES and found["scores"] == SCORES and found["class_of"] == CLASSES
    assert found["size_px"] == [400, 300] and found["mpp"] == pytest.approx(2.0)
    assert [c["name"] for c in found["classes"]] == ["normal", "sclerotic"]
    assert [o["class"] for o in found["outlines"]] == [0, 0]
    ring = np.reshape(found["outlines"][0]["rings"][0], (-1, 2))
    assert ring.min(axis=0).tolist() == [12, 20] and ring.max(axis=0).tolist() == [62, 70]


def test_squares_of_poor_quality_are_told_in_pixels_and_older_results_have_none(tmp_path, serve):
    quality = {"square_um": 256.0, "squares_um": {"blurred": [[256.0, 0.0]], "pen": []}}
    for name, found in (("a.tiff", quality), ("b.tiff", None), ("c.tiff", {"square_um": "x"})):
        more = {"quality": found} if found else {}
        write_result(tmp_path, tmp_path / name, [[1, 1, 9, 9]], [0.9], [0], mpp_xy=[2.0, 4.0], **more)
    get = serve(tmp_path)
    # as wide in the page's pixels as high, whatever the slide's
    assert content(get)["squares"] == [{"reason": "blurred", "box": [128, 0, 256, 128]}]
    assert content(get, 1)["squares"] == content(get, 2)["squares"] == []


def test_boxes_and_outlines_lie_on_the_stretched_picture(out, serve, tmp_path):
    """Pixels of 2 x 1 um: along x everything is twice as many of the page's pixels of 1 um."""
    path = tmp_path / "slides" / "a.tiff"
    flat = pyvips.Image.new_from_file(str(path)).copy_memory().copy(xres=500, yres=1000)
    flat.tiffsave(str(path), tile=True, resunit="cm")
    found = content(serve(out))
    assert found["size_px"] == [800, 300] and found["mpp"] == pytest.approx(1.0)
    assert found["boxes_px"] == [[x0 * 2, y0, x1 * 2, y1] for x0, y0, x1, y1 in BOXES]
    ring = np.reshape(found["outlines"][0]["rings"][0], (-1, 2))
    assert ring.min(axis=0).tolist() == [24, 20] and ring.max(axis=0).tolist() == [124, 70]


def test_outlines_of_what_was_found_lie_there_too(tmp_path, serve):
    """Pixels of 2 x 1 um; a corner that is half a pixel off a straight line is left out."""
    outline = shapely.Polygon([(10, 20), (35, 19.5), (60, 20), (60, 70), (10, 70)])
    write_result(tmp_path, tmp_path / "a.tiff", BOXES[:1], [0.9], [0], mpp_xy=[2.0, 1.0], outlines=[outline])
    write_result(tmp_path, tmp_path / "b.tiff", BOXES[:1], [0.9], [0], mpp_xy=[2.0, 1.0])
    get = serve(tmp_path)
    found = content(get)
    assert found["boxes_px"] == [[20, 20, 120, 70]]
    assert found["rings_of"] == [[[20, 20, 120, 20, 120, 70, 20, 70, 20, 20]]]
    assert content(get, 1)["rings_of"] == []


def test_tiles_are_pictures_that_a_browser_may_keep(out, serve):
    get = serve(out)
    key = content(get)["key"]
    status, body, headers = get(f"/tiles/0-{key}.dzi")
    assert status == 200 and b'Width="400" Height="300"' in body
    status, body, headers = get(f"/tiles/0-{key}_files/9/0_0.jpeg")
    assert status == 200 and body.startswith(b"\xff\xd8\xff") and "max-age" in headers["Cache-Control"]
    for wrong in (f"/tiles/0-{key}_files/9/7_0.jpeg", f"/tiles/0-{key}_files/44/0_0.jpeg",
                  f"/tiles/0-{'0' * 16}_files/9/0_0.jpeg", f"/tiles/5-{key}.dzi"):  # fmt: skip
        assert get(wrong)[0] == 404


def test_everything_the_page_needs_is_here_and_nothing_else_is(out, serve):
    get = serve(out)
    for path in STATIC:
        status, body, headers = get(path)
        assert status == 200 and body
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
    for path in (
        "/../pyproject.toml", "/static/../server.py", "/..%2f..%2fsetup.cfg", "//etc/passwd", "/etc/passwd",
        "/openseadragon/LICENSE.txt", "/slides/-1", "/slides/1", "/slides/0/run.json", "/tiles/0-..",
    ):  # fmt: skip
        assert get(path)[0] == 404


def test_page_loads_nothing_from_elsewhere():
    from importlib.resources import files

    for name, _ in STATIC.values():
        if "openseadragon" not in name:
            text = (files("mhkd.viewer") / "static" / name).read_text()
            assert "http://" not in text and "https://" not in text


def test_only_this_address_and_no_other_methods(out, serve):
    get = serve(out)
    assert get("/slides", Host="evil.example")[0] == 403
    assert get("/slides", Host=f"evil.example:{get.port}")[0] == 403
    assert get("/slides", Host=f"localhost:{get.port}")[0] == 200
    # The other end of an ssh tunnel has a port of its own.
    for host in ("127.0.0.1:9000", "localhost:9000", "[::1]:9000", "localhost"):
        assert get("/slides", Host=host)[0] == 200
    for host in ("localhost.evil.example", "127.0.0.1.evil.example:80", "127.0.0.1:80@evil.example", ""):
        assert get("/slides", Host=host)[0] == 403
    for method in ("PUT", "DELETE", "HEAD", "OPTIONS"):
        status, _, headers = get("/slides", method=method)
        assert status == 501 and "default-src 'none'" in headers["Content-Security-Policy"]


def is_closed(connection):
    """Whether the other end has closed, within ten seconds."""
    connection.settimeout(10)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.fixture
def connect(out, serve):
    server = serve(out).server
    opened = []

    def begin(data=b""):
        opened.append(socket.create_connection(("127.0.0.1", server.server_port)))
        opened[-1].sendall(data)
        return opened[-1]

    begin.server = server
    yield begin
    for connection in opened:
        connection.close()


def test_idle_and_slow_connections_are_closed(connect, monkeypatch, capfd):
    monkeypatch.setattr(connections, "IDLE_S", 0.5)
    slow = connect(b"GET /slides HTTP/1.1\r\nHost: local")
    body = connect(b"POST /corrections/0/0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
    assert is_closed(connect()) and is_closed(slow) and is_closed(body)
    abrupt = connect(b"GET /slides HTTP/1.1\r\nHost: localhost\r\n\r\n")
    abrupt.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
    abrupt.close()
    assert is_closed(connect())
    assert capfd.readouterr().err == ""


def ask(connection):
    """The status line of an answer, all of which is read, to /slides."""
    connection.sendall(b"GET /slides HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = b""
    while not received.endswith(b"}"):
        received += connection.recv(1000) or b"closed }"
    return received.partition(b"\r\n")[0]


def test_of_too_many_connections_the_one_that_is_idle_the_longest_goes(connect, monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 5)
    first = []
    for k in (0, 1, 2, 3, 4, 0):  # answered one after the other, the first one once more
        first += [connect()] if k == len(first) else []
        assert ask(first[k]) == b"HTTP/1.1 200 OK"
    deadline = time.monotonic() + 10
    while connect.server.answering and time.monotonic() < deadline:
        pass  # the last lines of the threads that answered
    assert ask(connect()) == b"HTTP/1.1 200 OK"
    assert is_closed(first[1])
    for connection in first[2:]:
        assert ask(connection) == b"HTTP/1.1 200 OK"


def told(connection):
    """All that the other end says until it closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(1000):
            received += more
    return received


def test_where_all_are_being_answered_another_is_told_so(connect, monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
    begun, may_end = threading.Semaphore(0), threading.Event()

    def content(self):
        begun.release()
        assert may_end.wait(60)
        return {"slow": True}

    monkeypatch.setattr(ShownSlide, "content", content)
    asking = [
        connect(b"GET /slides/0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") for _ in "ab"
    ]
    assert all(begun.acquire(timeout=60) for _ in asking)
    busy = told(connect())
    assert busy.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 1\r\n" in busy
    head, _, body = busy.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    may_end.set()
    assert [told(connection).endswith(b'{"slow": true}') for connection in asking] == [True, True]


@pytest.mark.parametrize("request_of", [
    lambda size: b"GET /" + b"x" * size + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    lambda size: b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * size + b"\r\n\r\n",
    lambda size: b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: 0123456789\r\n" * (size // 15) + b"\r\n",
])  # fmt: skip
def test_a_request_s_head_has_an_end(connect, request_of):
    small = told(connect(request_of(1000).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    assert small.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 404 "))
    assert told(connect(request_of(40_000))).startswith(b"HTTP/1.1 431 ")


def test_what_comes_with_a_question_is_no_question(connect):
    asked = b"GET /slides HTTP/1.1\r\nHost: localhost\r\nContent-Length: 46\r\n\r\n"
    asked += b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert told(connect(asked)).count(b"HTTP/1.1 ") == 1
    two_hosts = b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert told(connect(two_hosts)).startswith(b"HTTP/1.1 403 ")


def test_slide_that_has_moved_is_named_and_found_again(out, serve, tmp_path):
    moved = tmp_path / "moved"
    (tmp_path / "slides").rename(moved)
    found = content(serve(out))
    assert "a.tiff" in found["problem"] and "--slides DIR" in found["problem"]
    assert len(found["boxes_px"]) == 2 and found["outlines"] == []
    found = content(serve(out, slides_dir=str(moved)))
    assert found["problem"] is None and len(found["outlines"]) == 2


def test_another_slide_in_its_place_is_not_shown(out, serve, tmp_path):
    write_tiff(tmp_path / "slides" / "a.tiff", np.full((310, 400, 3), 200, np.uint8), 2.0, "other")
    found = content(serve(out))
    assert "400x310" in found["problem"] and "400x300" in found["problem"]


def test_annotations_that_are_asked_for_and_missing_are_a_remark(out, serve, tmp_path):
    (tmp_path / "slides" / "a.geojson").unlink()
    (tmp_path / "slides" / "notes.json").write_text("{}")  # nobody said that these are annotations
    assert content(serve(out))["remark"] is None
    (tmp_path / "none").mkdir()
    assert "has no annotations of a.tiff" in content(serve(out, annotations=str(tmp_path / "none")))["remark"]
    (tmp_path / "slides" / "a.geojson").write_text("{")
    assert "a.geojson" in content(serve(out))["remark"]


def test_damaged_results_are_one_clear_answer(out, serve):
    get = serve(out)
    (out / "a.tiff" / "coco_instances_results.json").write_text("[{}]")
    status, body, _ = get("/slides/0")
    assert status == 500 and b"coco_instances_results.json" in body and b"mhkd detect again" in body


@pytest.mark.parametrize("options", [["--port", "{used}"], ["--port", "99999"]])
def test_port_that_cannot_be_had(out, serve, options):
    port = str(serve(out).port)
    options = [o.format(used=port) for o in options]
    result = CliRunner().invoke(main, ["view", str(out), "--no-browser", *options])
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
    assert "--port" in result.output.splitlines()[-1]


def test_nothing_to_show_is_one_line(out, tmp_path):
    (tmp_path / "empty").mkdir()
    shutil.rmtree(out / "a.tiff")
    (out / "b.tiff" / ".work").mkdir(parents=True)
    for folder, message in (
        (tmp_path / "nowhere", "no such folder"), (tmp_path / "empty", "no finished slide"), (out, "1 begun")
    ):  # fmt: skip
        result = CliRunner().invoke(main, ["view", str(folder), "--no-browser"])
        assert result.exit_code == 2 and message in result.output and result.output.count("\n") == 1


def test_the_working_threshold_and_what_differs_are_said(out, serve):
    found = content(serve(out))
    assert (found["score_threshold"], found["working_threshold"]) == (0.05, 0.5)
    assert content(serve(out, notes=("mixed",)))["remark"] == "mixed"


def test_a_slide_that_was_replaced_is_shown_with_a_remark(out, serve, tmp_path):
    slide = tmp_path / "slides" / "a.tiff"
    run = json.loads((out / "a.tiff" / "run.json").read_text())
    (out / "a.tiff" / "run.json").write_text(json.dumps(run | {"slide_checksum": checksum(slide)}))
    assert content(serve(out))["remark"] is None
    write_tiff(slide, np.full((300, 400, 3), 201, np.uint8), 2.0, "another")
    found = content(serve(out))
    assert "is not the file that was looked at" in found["remark"] and found["problem"] is None


def test_damaged_results_are_in_the_list_and_say_why_while_others_are_shown(out, serve):
    damaged = DamagedSlide("b.tiff", "b.tiff/run.json: is damaged")
    shown = [ShownSlide(find_finished(out).finished[0]), damaged]
    server = make_server(shown, "out", 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        for path, status, said in (
            ("/slides", 200, b'{"name": "b.tiff", "glomeruli": null}'), ("/slides/0", 200, b"a.tiff"),
            ("/slides/1", 500, b"b.tiff/run.json: is damaged"),
        ):  # fmt: skip
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == status and said in response.read()
        connection.close()
    finally:
        server.shutdown()
        server.server_close()
