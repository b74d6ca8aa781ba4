import csv
import io

from mhkd.slide_detection import Detections
from mhkd.slide_detection.exports.table import glomeruli_csv


def _opened(text):
    """As a spreadsheet reads it: the mark of UTF-8 is no part of the first column's name."""
    return io.StringIO(text.encode().decode("utf-8-sig"))


def test_positions_and_sizes_in_micrometres(found):
    rows = list(csv.DictReader(_opened(glomeruli_csv(found, (0.5, 0.25), 0.25))))
    assert len(rows) == 3
    assert rows[0] == {
        "number": "1", "class": "normal", "score": "0.9",
        "center_x_um": "75.0", "center_y_um": "25.0",
        "width_um": "50.0", "height_um": "20.0", "diameter_um": "31.62",
        "center_x_px": "150.0", "center_y_px": "100.0", "width_px": "100.0", "height_px": "80.0",
        "score_threshold": "0.25",
    }  # fmt: skip


def test_class_names_with_commas_and_quotes():
    found = Detections([[0, 0, 10, 10]], [0.9], [0], ('glomerulus, "other"',))
    (row,) = csv.DictReader(_opened(glomeruli_csv(found, (1, 1))))
    assert row["class"] == 'glomerulus, "other"'


def test_none_is_a_header():
    assert len(glomeruli_csv(Detections.empty(("normal",)), (1, 1)).splitlines()) == 1
