import os
import signal

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slide_detection.grid import Grid
from mhkd.slide_detection.journal import Journal
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.search import sound_records

import pytest
from blob_student import blob_student

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


def test_records_that_no_search_has_written_are_done_anew():
    """Two batches of two tiles, one of one; the classes are two."""
    grid = Grid((40, 8), (8, 8), 2, ((0, 0),) * 5)
    tile = [[[1.5, 2, 3, 4]], [0.5], [1]]
    outlined = [[[1, 2, 3, 4]], [0.5], [0], ["POLYGON ((1 2, 3 2, 3 4, 1 2))"]]
    sound = {0: [tile, tile], 1: [outlined, [[], [], []]], 2: [tile]}
    assert sound_records(sound, grid, blob_student(), DetectOptions(batch_size=2)) == sound
    bad = [
        None,
        7,
        "x",
        [],
        [tile],
        [tile, 7],
        [tile, []],
        [tile, [[], []]],
        [tile, [[[1, 2, 3]], [0.5], [0]]],
        [tile, [[[1, 2, 3, 4]], [0.5, 0.5], [0]]],
        [tile, [[[1, 2, 3, 4]], [0.5], [2]]],
        [tile, [[[1, 2, 3, 4]], [0.5], [-1]]],
        [tile, [[[1, 2, 3, 4]], [0.5], [0.5]]],
        [tile, [[[1, 2, 3, 4]], ["x"], [0]]],
        [tile, [[[1, 2, 3, 4]], [1.5], [0]]],
        [tile, [[[1, 2, 3, float("nan")]], [0.5], [0]]],
        [tile, [[[3, 2, 1, 4]], [0.5], [0]]],
        [tile, [[[1, 2, 3, 1e9]], [0.5], [0]]],
        [tile, [[[1, 2, 3, 4]], [0.5], [10**30]]],
        [tile, [*tile, ["POINT (1 2)"]]],
        [tile, [*tile, ["x"]]],
        [tile, [*tile, [7]]],
        [tile, [*tile, []]],
    ]
    for record in bad:
        records = {**sound, 0: record, 3: [tile], -1: [tile]}
        found = sound_records(records, grid, blob_student(), DetectOptions(batch_size=2))
        assert found == {1: sound[1], 2: sound[2]}, record
