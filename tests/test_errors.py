"""A message is one line whatever a file holds."""

import pickle

from mhkd.errors import InputError
from mhkd.files import read_json

import pytest


@pytest.mark.parametrize(
    "given, said",
    [
        ("a.json: class normal: rename it", "a.json: class normal: rename it"),
        ("a\n  b\r\nc\x0bd\u2028e", "a b c d e"),
        ("a\x1b[31mb\x07\x00c", r"a\u001b[31mb\u0007\u0000c"),
        ("a\u202eb\u200bc", r"a\u202eb\u200bc"),
        ("é 日本 \U0001f600 \udce9", "é 日本 \U0001f600 \udce9"),
        ("x" * 5000, "x" * 2000 + " ... " + "x" * 2000),
    ],
)
def test_line_breaks_and_what_a_terminal_obeys(given, said):
    assert str(InputError(given)) == said
    assert str(pickle.loads(pickle.dumps(InputError(given)))) == said


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"1" * 5000, "cannot be read"),
        (b"[1]", "holds no object"),
        (None, "is missing"),
    ],
)
def test_json_that_is_none(tmp_path, content, said):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"a.json: {said}.*: write it anew"):
        read_json(path, dict, "write it anew")


def test_json(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, null]}')
    assert read_json(tmp_path / "a.json", dict, "") == {"a": [1, None]}
