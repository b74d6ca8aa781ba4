"""Writers that leave the old file where there is no room for a new one; locks that die with their process."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

from mhkd.engine.checkpoint import save_atomically
from mhkd.errors import InputError
from mhkd.files import locked, replacing_folder, sha256, write_json, write_text, writing_to
from mhkd.slides.sources import open_pixels

import pytest
import torch
from support import room_for


@contextlib.contextmanager
def held(folder):
    """The id of another process, killed in the end, that is inside the lock of ``folder``."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        with locked(folder):
            os.write(writes, b"inside")
            signal.pause()
    try:
        assert os.read(reads, 6) == b"inside"
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reads)
        os.close(writes)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_text("x" * 5000, path),
        lambda path: write_json(["x" * 5000], path),
        lambda path: save_atomically({"model": {"w": torch.zeros(50_000)}}, path),
    ],
)
def test_a_full_disk_leaves_what_was_there(tmp_path, write):
    path = tmp_path / "kept"
    path.write_text("good")
    with room_for(1000), pytest.raises(InputError, match="kept: cannot be written .File too large."):
        write(path)
    assert path.read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def write(text):
        with replacing_folder(tmp_path / "pictures") as folder:
            assert not any(folder.iterdir())
            (folder / "a.txt").write_text(text)
            (folder / f"{len(text)}.txt").touch()

    (tmp_path / "pictures.tmp").mkdir()
    (tmp_path / "pictures.tmp" / "left").touch()  # by a run that was killed
    write("good")
    with room_for(10), pytest.raises(InputError, match="pictures: cannot be written .File too large."):
        write("x" * 100)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "pictures", "pictures/4.txt", "pictures/a.txt",
    ]  # fmt: skip
    write("a good one")
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["10.txt", "a.txt"]


@pytest.mark.skipif(
    shutil.which("strace") is None, reason="no disk here has quotas: strace refuses the bytes"
)
def test_a_quota_is_as_a_full_disk(tmp_path):
    write_text("good", tmp_path / "a.txt")
    full = ["-e", "inject=write:error=EDQUOT", "-P", tmp_path / "a.txt.tmp", "-o", tmp_path / "trace"]
    program = f"from mhkd.files import write_text; write_text('new', {str(tmp_path / 'a.txt')!r})"
    ran = subprocess.run(
        ["strace", "-f", "-qq", *full, sys.executable, "-c", program], capture_output=True, text=True
    )
    said = (
        f"{tmp_path / 'a.txt'}: cannot be written (Disk quota exceeded): make room or choose another folder"
    )
    assert ran.returncode and ran.stderr.endswith(f"WriteError: {said}\n")
    assert "EDQUOT" in (tmp_path / "trace").read_text()
    (tmp_path / "trace").unlink()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "good"


def test_others_errors_of_a_full_disk_become_one_line(tmp_path):
    with room_for(10), pytest.raises(InputError, match="out: cannot be written"):
        with writing_to(tmp_path / "out"), open(tmp_path / "log", "w") as f:
            f.write("x" * 1000)
            f.flush()
    with pytest.raises(FileNotFoundError), writing_to(tmp_path):
        open(tmp_path / "nowhere")


def test_one_process_at_a_time(tmp_path):
    with held(tmp_path / "out") as pid:
        said = f"out: another run .process {pid} on .*OUTPUT_DIR"
        with pytest.raises(InputError, match=said), locked(tmp_path / "out"):
            raise AssertionError
    with locked(tmp_path / "out"):  # killed
        pass


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file.* cannot be written"), locked(tmp_path / "file/out"):
        raise AssertionError


def test_one_thread_at_a_time_too(tmp_path):
    with locked(tmp_path / "out"):
        for folder in (tmp_path / "out", tmp_path / "x" / ".." / "out"):
            with pytest.raises(InputError, match=f"process {os.getpid()} on "), locked(folder):
                raise AssertionError
        with held(tmp_path / "other"), pytest.raises(InputError, match="^taken$"):
            with locked(tmp_path / "other", "taken"):
                raise AssertionError


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    for read in (sha256, open_pixels):
        with pytest.raises(InputError, match="a.tif: is no file, but a pipe"):
            read(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("anew", [False, True])
def test_a_locked_folder_that_was_removed_is_not_made_anew(tmp_path, anew):
    """Nor is one that another has made in its place taken for it."""
    out = tmp_path / "out"
    with locked(out):
        write_text("good", out / "a.txt")
        out.rename(tmp_path / "away")
        if anew:
            out.mkdir()
        for write in (
            lambda: write_text("x", out / "a.txt"),
            lambda: write_json(1, out / "deep" / "er" / "a.json"),
            lambda: save_atomically({}, out / "a.pth"),
            lambda: replacing_folder(out / "pictures").__enter__(),
        ):
            with pytest.raises(InputError, match=f"^{out}: was removed, or moved away, while this run"):
                write()
        with pytest.raises(InputError, match=f"^{out}: was removed"), writing_to(out):
            open(out / "nowhere" / "a.txt", "w")
        assert not any(out.glob("*")) and out.exists() == anew
        write_text("elsewhere", tmp_path / "a.txt")
    assert (tmp_path / "away" / "a.txt").read_text() == "good"
    with locked(out):  # begun anew
        write_text("x", out / "a.txt")
