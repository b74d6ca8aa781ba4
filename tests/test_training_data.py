"""What a student records of its training data: ranges by hand, and a stranger's file."""

import json
import re
from dataclasses import replace

from mhkd.errors import InputError
from mhkd.training_data import (
    FILE,
    TrainingData,
    read_training_data,
    record_scores,
    unsure_share,
    write_training_data,
)

import numpy as np
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


def scores(sure, unsure):
    return np.array([0.9] * sure + [0.8] + [0.2, 0.79] * (unsure // 2) + [0.19, 0.05] * 40, np.float32)


def test_unsure_are_scores_in_the_middle_of_those_that_are_not_low():
    assert unsure_share(scores(9, 30)) == 0.75
    assert unsure_share(scores(3, 16)) == 0.8 and unsure_share(scores(2, 16)) is None  # of 20 and of 19


@pytest.mark.parametrize(
    ("unsure", "far"), [(0.0, True), (0.54, True), (0.56, False), (1.0, False), (None, False)]
)
def test_far_is_a_share_that_is_above_by_more_than_a_fifth(unsure, far):
    known = replace(MADE, unsure=unsure)
    assert bool(known.far_in_scores(scores(9, 30))) is far and known.far_in_scores(scores(2, 16)) == ""
    if unsure == 0.54:
        assert known.far_in_scores(scores(9, 30)) == "75 % of its scores lie between 0.2 and 0.8, there 54 %"


def test_scores_are_added_to_what_is_recorded_of_the_images(tmp_path):
    assert record_scores(scores(9, 30), tmp_path) is None and not (tmp_path / FILE).exists()
    write_training_data(MADE, tmp_path)
    assert record_scores(scores(2, 16), tmp_path) is None and read_training_data(tmp_path) == MADE
    assert record_scores(scores(9, 30), tmp_path) == 0.75
    assert read_training_data(tmp_path) == replace(MADE, unsure=0.75)
    assert TrainingData.parse({"images": 21, "colour": MADE.dump()["colour"]}) == MADE  # of before


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
        *(json.dumps({**GOOD, "unsure": bad}) for bad in (-0.1, 1.1, "0", True, [], float("nan"))),
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
