"""What a student records of its training data: ranges by hand, and a stranger's file."""

import json
import re

from mhkd.errors import InputError
from mhkd.training_data import FILE, TrainingData, read_training_data, write_training_data

import pytest

AT = {"density": 0.3, "contrast": 0.1, "red": 0.2, "green": 0.5, "blue": 0.3}
# 21 images whose green is 0.40, 0.41, ... 0.60: the middle 90 % are 0.41 to 0.59.
MADE = TrainingData.of([{**AT, "green": 0.4 + 0.01 * k} for k in range(21)])


def test_a_range_is_that_of_the_middle_images():
    assert MADE.images == 21 and MADE.colour["green"] == (0.41, 0.59) and MADE.colour["red"] == (0.2, 0.2)
    assert TrainingData.of([AT] * 3) is None


@pytest.mark.parametrize(
    ("green", "far"), [(0.5, False), (0.24, False), (0.22, True), (0.76, False), (0.78, True)]
)
def test_far_is_outside_by_more_than_the_width(green, far):
    assert bool(MADE.far_in_colour({**AT, "green": green})) is far


def test_a_range_has_a_least_width_and_what_is_far_is_named():
    assert MADE.far_in_colour({**AT, "red": 0.249}) == []
    assert MADE.far_in_colour({**AT, "red": 0.26, "density": 0.5}) == [
        "mean optical density 0.50, there 0.30 to 0.30",
        "red's share of it 0.26, there 0.20 to 0.20",
    ]


def test_a_file_brings_it_back(tmp_path):
    assert read_training_data(tmp_path) is None  # an older student
    write_training_data(MADE, tmp_path)
    assert read_training_data(tmp_path) == MADE
    write_training_data(None, tmp_path)
    assert not (tmp_path / FILE).exists()


GOOD = json.loads(json.dumps(MADE.dump()))


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", "{}", '{"images": 3}',
        *(json.dumps({**GOOD, "images": bad}) for bad in (0, 2.5, True, "9", None)),
        *(
            json.dumps({**GOOD, "colour": {**GOOD["colour"], "red": bad}})
            for bad in ([0.2], [0.1, 0.2, 0.3], [0.3, 0.2], ["0", "1"], [True, 1])
        ),
        *(
            json.dumps({**GOOD, "colour": {**GOOD["colour"], "red": bad}})
            for bad in ([-1, 1], [0, 10**400], "ab", None)
        ),
        json.dumps({**GOOD, "colour": [1, 2]}),
        json.dumps({**GOOD, "colour": {**GOOD["colour"], "red": [0.1, float("nan")]}}),
        json.dumps({**GOOD, "colour": {**GOOD["colour"], "red": [0.1, float("inf")]}}),
        json.dumps({**GOOD, "colour": {k: v for k, v in GOOD["colour"].items() if k != "blue"}}),
    ],
)  # fmt: skip
def test_a_malformed_file_is_one_line(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(InputError, match=re.escape(FILE)) as caught:
        read_training_data(tmp_path)
    assert "\n" not in str(caught.value) and "move the file away" in str(caught.value)
