"""A packed student that a stranger made, or that is damaged: one line, and nothing is left or run."""

import stat
import zipfile
from pathlib import Path

from mhkd.errors import InputError
from mhkd.packed_student import unpacked
from mhkd.slide_detection.student import load_student

import pytest
from packed import pack


def repack(packed, out, change):
    """``change`` gets a dict of name -> (ZipInfo, content), and may add names."""
    with zipfile.ZipFile(packed) as archive:
        members = {m.filename: [m, archive.read(m)] for m in archive.infolist()}
    members = change(members) or members
    with zipfile.ZipFile(out, "w") as archive:
        for member, content in members.values():
            archive.writestr(member, content)


def added(name, content=b"x"):
    return lambda members: members | {name: [zipfile.ZipInfo(name), content]}


def without(name):
    return lambda members: {k: v for k, v in members.items() if k != name}


def compressed(members):
    members["config.yaml"][0].compress_type = zipfile.ZIP_DEFLATED


def a_link(members):
    members["config.yaml"][0].external_attr = (stat.S_IFLNK | 0o777) << 16
    members["config.yaml"][1] = b"/etc/hostname"


def twice(members):
    return members | {"again": [zipfile.ZipInfo("config.yaml"), b"MODEL: {}"]}


def cut_weights(members):
    members["model_final.pth"][1] = members["model_final.pth"][1][:1000]


def pickled(members):
    members["card.yaml"][1] = b"name: !!python/object/apply:os.system [touch ran]"


STRANGERS = {
    "a path upwards": (added("../evil.pth"), r"holds '\.\./evil\.pth'"),
    "an absolute path": (added("/tmp/evil.pth"), "holds '/tmp/evil.pth'"),
    "a folder": (added("student/"), "holds 'student/'"),
    "code": (added("model.py"), "holds 'model.py'"),
    "a student of each kind": (added("student.onnx"), "but not card.yaml and either"),
    "another's threshold": (added("student.threshold.json"), "but not card.yaml and either"),
    "no weights": (without("model_final.pth"), "but not card.yaml and either"),
    "no config": (without("config.yaml"), "but not card.yaml and either"),
    "no card": (without("card.yaml"), "but not card.yaml and either"),
    "compressed": (compressed, "'config.yaml' in it is compressed"),
    "a link": (a_link, "'config.yaml' in it is no plain file"),
    "a name twice": (twice, "holds 'config.yaml' twice"),
    "a huge config": (added("config.yaml", b"x" * 300_000), "'config.yaml' in it is larger than 256 KiB"),
    "weights cut short": (cut_weights, "/model_final.pth: .*cut short"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("change, message", STRANGERS.values(), ids=STRANGERS)
def test_a_strangers_file_is_refused_and_leaves_nothing(change, message, packed, tmp_path, temporary):
    path = tmp_path / "stranger.mhkd"
    repack(packed, path, change)
    with pytest.raises(InputError, match=rf"stranger\.mhkd.*{message}") as e:
        load_student(str(path), "cpu")
    assert str(temporary) not in str(e.value)
    assert list(temporary.iterdir()) == []


def test_nothing_on_a_card_is_executed(packed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    repack(packed, tmp_path / "stranger.mhkd", pickled)
    assert "no YAML that is safe to read" in pack("stranger.mhkd", "--show", exit_code=2)
    assert not (tmp_path / "ran").exists()


def test_no_damaged_byte_is_anything_but_one_error(packed, tmp_path):
    content, path = packed.read_bytes(), tmp_path / "damaged.mhkd"
    begin = content.index(b"PK\x01\x02", len(content) - 1000)  # the directory at the end
    places = [*range(begin, len(content)), *range(0, begin, begin // 50)]
    errors = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            with unpacked(path) as folder:
                for name in ("config.yaml", "model_final.pth"):
                    with zipfile.ZipFile(packed) as archive:
                        assert Path(folder, name).read_bytes() == archive.read(name)
        except InputError as e:
            assert "damaged.mhkd" in str(e)
            errors += 1
    assert errors > len(places) / 4
    for length in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"damaged\.mhkd"), unpacked(path):
            pass
