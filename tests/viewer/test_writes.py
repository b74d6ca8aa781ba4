"""What the server takes, and of whom."""

import http.client
import json
import threading

from mhkd.corrections.journal import CORRECTIONS, CorrectionFile
from mhkd.slide_detection.checksum import checksum
from mhkd.slide_detection.finished import find_finished
from mhkd.synthetic.slides import write_tiff
from mhkd.viewer.content import ShownSlide
from mhkd.viewer.server import make_server

import numpy as np
import pytest
from results_folder import write_result
from support import room_for

BOXES, SCORES, CLASSES = [[10, 20, 60, 70], [100, 100, 180, 200]], [0.9, 0.4], [0, 1]
NUMBER = "12345678-1234-1234-1234-123456789abc"
WORD = {
    "id": NUMBER,
    "box_px": [200, 100, 260, 160],
    "verdict": "accepted",
    "class_name": "normal",
    "drawn": False,
}


class Server:
    """A server, and what it answers."""

    def __init__(self, out):
        self.slide = find_finished(out).finished[0]
        self.server = make_server([ShownSlide(self.slide)], "out", 0)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.token = json.loads(self.ask("/slides")[1])["token"]
        self.content = json.loads(self.ask("/slides/0")[1])
        self.path = f"/corrections/0-{self.content['key']}/0"

    def ask(self, path, method="GET", body=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=20)
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        found = response.status, response.read()
        connection.close()
        return found

    def send(self, word, path=None, **changes):
        """As the page does, but for some headers; None: without it."""
        headers = {
            "Content-Type": "application/json", "X-MHKD-Token": self.token, "Origin": f"http://{self.host}",
            "Host": self.host, "Sec-Fetch-Site": "same-origin",
        }  # fmt: skip
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        body = word if isinstance(word, bytes) else json.dumps(word).encode()
        return self.ask(path or self.path, "POST", body, {k: v for k, v in headers.items() if v is not None})


@pytest.fixture
def server(tmp_path):
    slide = tmp_path / "slides" / "a.tiff"
    slide.parent.mkdir()
    write_tiff(slide, np.full((300, 400, 3), 200, np.uint8), 2.0, "grey")
    write_result(
        tmp_path / "out", slide, BOXES, SCORES, CLASSES, size_px=(400, 300), slide_checksum=checksum(slide)
    )
    server = Server(tmp_path / "out")
    yield server
    server.server.shutdown()
    server.server.server_close()


def said(server):
    return [(c.id, c.verdict, c.class_name, list(c.box_px)) for c in CorrectionFile(server.slide).all()]


def test_a_word_is_on_the_disk_when_it_is_answered(server):
    status, body = server.send(WORD)
    assert status == 200 and json.loads(body) == {"since": 1, "records": [WORD]}
    assert said(server) == [(NUMBER, "accepted", "normal", [200, 100, 260, 160])]
    again = {**WORD, "verdict": "rejected", "class_name": None}
    assert json.loads(server.send(again, path=server.path[:-1] + "1")[1]) == {"since": 2, "records": [again]}
    assert json.loads(server.ask(server.path)[1]) == {"since": 2, "records": [WORD, again]}
    assert json.loads(server.ask(server.path[:-1] + "2")[1]) == {"since": 2, "records": []}


def test_boxes_are_kept_in_the_pixels_of_the_slide(tmp_path):
    """Of 2 x 1 um: along x everything is twice as many of the page's pixels of 1 um."""
    run = {"size_px": (400, 300), "mpp_xy": [2.0, 1.0]}
    write_result(tmp_path / "out", tmp_path / "gone.tiff", BOXES, SCORES, CLASSES, **run)
    slide = ShownSlide(find_finished(tmp_path / "out").finished[0])
    answer = slide.corrections.keep(WORD, 0)
    assert answer["records"] == [WORD]
    [kept] = CorrectionFile(slide.finished).all()
    assert kept.box_px == (100, 100, 130, 160)
    inside = {**WORD, "box_px": [700, 200, 800, 300]}  # up to the corner
    assert slide.corrections.keep(inside, 1)["since"] == 2
    for outside in ([700, 200, 801, 300], [790, 200, 800, 301], [-1, 0, 50, 50]):
        with pytest.raises(ValueError, match="is not on the slide of 400x300 px"):
            slide.corrections.keep({**WORD, "box_px": outside}, 2)


def test_the_last_part_of_a_pixel_is_on_the_slide(tmp_path):
    """Of 401 px, 1.5 of the page's each, the page has 602."""
    run = {"size_px": (401, 300), "mpp_xy": [1.5, 1.0]}
    write_result(tmp_path / "out", tmp_path / "gone.tiff", BOXES, SCORES, CLASSES, **run)
    slide = ShownSlide(find_finished(tmp_path / "out").finished[0])
    slide.corrections.keep({**WORD, "box_px": [540, 100, 602, 160]}, 0)
    assert CorrectionFile(slide.finished).all()[0].box_px == (360, 100, 401, 160)
    with pytest.raises(ValueError, match="is not on the slide"):
        slide.corrections.keep({**WORD, "box_px": [601.6, 100, 602, 160]}, 1)


@pytest.mark.parametrize("changes, status", [
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": None}, 403),
    ({"Origin": "http://127.0.0.1:1"}, 403),  # another program's page on this machine
    ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
    ({"Sec_Fetch_Site": "cross-site"}, 403),
    ({"Sec_Fetch_Site": "same-site"}, 403),
    ({"X_MHKD_Token": None}, 403),
    ({"X_MHKD_Token": "x" * 43}, 403),
    ({"X_MHKD_Token": "\xe4"}, 403),
    ({"Content_Type": "text/plain"}, 415),  # what a form of another site can send
    ({"Content_Type": None}, 415),
    ({"Transfer_Encoding": "chunked"}, 411),
])  # fmt: skip
def test_only_the_page_itself_may_write(server, changes, status):
    assert server.send(WORD, **changes)[0] == status
    assert said(server) == [] and not (server.slide.folder / CORRECTIONS).exists()
    assert server.send(WORD)[0] == 200


def test_a_tunnel_has_a_port_of_its_own(server):
    assert server.send(WORD, Host="localhost:9000", Origin="http://localhost:9000")[0] == 200


@pytest.mark.parametrize("changes", [
    {"box_px": [390, 100, 410, 120]}, {"box_px": [-5, 0, 20, 20]}, {"box_px": [1, 1, 1, 1]}, {"box_px": None},
    {"box_px": [1, 2, 3]}, {"class_name": "tumour"}, {"class_name": None}, {"id": "../x"},
    {"verdict": "gone"},
])  # fmt: skip
def test_what_is_no_correction_of_this_slide_is_refused(server, changes):
    status, body = server.send({**WORD, **changes})
    assert status == 400 and body.startswith(b"not kept: what was sent has ")
    assert said(server) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b'"x"', b"[" * 4000, b"NaN", b"\xff\xfe"])
def test_what_is_no_object_is_refused(server, body):
    assert server.send(body)[0] == 400
    assert said(server) == []


def test_too_much_is_refused(server):
    assert server.send({**WORD, "note": "x" * 5000})[0] == 413
    assert server.send(b"", Content_Length="99999999999999999999")[0] == 413
    assert server.send(b"", Content_Length="-1")[0] == 411
    connection = http.client.HTTPConnection("127.0.0.1", server.server.server_port, timeout=20)
    connection.putrequest("POST", server.path)
    for length in "23":
        connection.putheader("Content-Length", length)
    connection.endheaders(b"{}")
    assert connection.getresponse().status == 411
    connection.close()
    assert said(server) == []


@pytest.mark.parametrize(
    "path", ["/slides/0", "/corrections/0-{other}/0", "/corrections/1-{key}/0", "/a", "/corrections/"]
)
def test_there_is_no_other_place_to_write_to(server, path):
    path = path.format(key=server.content["key"], other="0" * 16)
    assert server.send(WORD, path=path)[0] == 404
    assert said(server) == []


def test_another_slide_in_its_place_cannot_be_corrected(server, tmp_path):
    write_tiff(tmp_path / "slides" / "a.tiff", np.full((300, 400, 3), 201, np.uint8), 2.0, "another")
    other = Server(tmp_path / "out")
    try:
        assert "is not the file that was looked at" in other.content["locked"]
        status, body = other.send(WORD)
        assert status == 409 and b"is not the file that was looked at" in body
    finally:
        other.server.shutdown()
        other.server.server_close()


def test_corrections_of_another_slide_are_said_and_not_used(server):
    assert server.send(WORD)[0] == 200
    run = json.loads((server.slide.folder / "run.json").read_text())
    run["slide_checksum"]["sha256"] = "0" * 64
    (server.slide.folder / "run.json").write_text(json.dumps(run))
    content = ShownSlide(find_finished(server.slide.folder).finished[0]).content()
    assert "has the corrections of another slide" in content["locked"] and content["records"] == []
    assert len(content["boxes_px"]) == 2


def test_a_full_disk_is_said(server):
    with room_for(10):
        status, body = server.send(WORD)
    assert status == 500 and b"cannot be written" in body
    assert server.send(WORD)[0] == 200 and len(said(server)) == 1


def test_the_corrected_slide_is_a_file_from_the_threshold_that_is_looked_at(server):
    assert server.send(WORD)[0] == 200
    for threshold, count in (("0.50", 2), ("0.05", 3)):
        status, body = server.ask(f"/corrected/0-{server.content['key']}/{threshold}.geojson")
        assert status == 200 and len(json.loads(body)["features"]) == count


def test_fields_to_correct_are_those_of_mhkd_next(server):
    fields = json.loads(server.ask("/fields")[1])
    assert fields == []  # without a resolution of the slide no size of a field is known
    run = json.loads((server.slide.folder / "run.json").read_text())
    (server.slide.folder / "run.json").write_text(json.dumps({**run, "mpp_xy": [2.0, 4.0]}))
    other = Server(server.slide.folder.parent)
    try:
        [field] = json.loads(other.ask("/fields")[1])
    finally:
        other.server.shutdown()
        other.server.server_close()
    assert field == {"slide": 0, "box_px": [0, 0, 400, 500], "unsure": 1}
