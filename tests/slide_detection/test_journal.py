import os
import signal

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slide_detection.journal import Journal

import pytest

RECORDS = {0: [[[1.5, 2.25]], [0.1]], 2: [[], []]}


def written(path, key="k"):
    with Journal(path, key) as journal:
        for index, record in RECORDS.items():
            journal.append(index, record)
    return path.read_bytes()


@pytest.mark.slow
def test_cut_at_any_byte_it_keeps_the_whole_records_and_goes_on(tmp_path):
    path = tmp_path / "slide" / ".work" / "tiles.jsonl"
    content = written(path)
    ends = [i + 1 for i, b in enumerate(content) if b == ord("\n")]
    assert len(ends) == 3
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        with Journal(path, "k") as journal:
            kept = list(RECORDS)[: sum(cut >= end for end in ends[1:])]
            assert journal.records == {k: RECORDS[k] for k in kept}
            for index in list(RECORDS)[len(kept) :]:
                journal.append(index, RECORDS[index])
        assert path.read_bytes() == content


def test_a_flipped_byte_ends_it(tmp_path):
    path = tmp_path / "tiles.jsonl"
    content = bytearray(written(path))
    content[-4] ^= 1
    path.write_bytes(content)
    with Journal(path, "k") as journal:
        assert journal.records == {0: RECORDS[0]}


def test_another_key_begins_anew(tmp_path):
    path = tmp_path / "tiles.jsonl"
    written(path)
    with Journal(path, "other") as journal:
        assert journal.records == {}
    with Journal(path, "other") as journal:
        assert journal.records == {}


def test_two_at_once_are_told(tmp_path):
    path = tmp_path / "slide" / ".work" / "tiles.jsonl"
    with Journal(path, "k"), pytest.raises(InputError, match="another process .* choose another --out"):
        Journal(path, "k")
    with Journal(path, "k") as journal:
        assert journal.records == {}


def test_what_a_killed_run_has_forked_does_not_keep_the_next_one_out(tmp_path):
    path = tmp_path / "slide" / ".work" / "tiles.jsonl"
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:  # a run, with a worker of its own that lives on
        with Journal(path, "k") as journal:
            journal.append(0, RECORDS[0])
            worker = os.fork()
            if worker == 0:
                signal.pause()
            os.write(writes, b"%d\n" % worker)
            signal.pause()
    worker = int(os.read(reads, 20))
    try:
        with pytest.raises(InputError, match="another process .* choose another --out"):
            Journal(path, "k")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with Journal(path, "k") as journal:
            assert journal.records == {0: RECORDS[0]}
    finally:
        os.kill(worker, signal.SIGKILL)
        os.close(reads)
        os.close(writes)
