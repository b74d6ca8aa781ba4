import os

from mhkd.files import fitting_name, write_text


def test_names_of_any_length_can_be_written(tmp_path):
    for name in ("a" * 248, "é" * 124, "a" * 247, "ab" * 60):
        path = tmp_path / fitting_name(name, ".png")
        write_text("x", path)
        assert len(os.fsencode(path.name)) <= 255 and path.name.endswith(".png")
        assert path.name.startswith(name[:60])
    assert fitting_name("a" * 247, ".png") == "a" * 247 + ".png"
    assert fitting_name("a" * 248 + "b", ".png") != fitting_name("a" * 248 + "c", ".png")
