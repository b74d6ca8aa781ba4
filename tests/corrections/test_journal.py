import json
import threading
import uuid
from dataclasses import replace

from mhkd.corrections.journal import ACCEPTED, CORRECTIONS, REJECTED, WITHDRAWN, Correction, CorrectionFile
from mhkd.errors import InputError
from mhkd.slide_detection.finished import find_finished

import pytest
from results_folder import write_result
from support import room_for

CHECKSUM = {"bytes": 1000, "sha256": "ab"}


@pytest.fixture
def slide(tmp_path):
    folder = write_result(tmp_path / "out", "a.tiff", [[10, 20, 60, 70]], [0.9], [0], size_px=(400, 300),
                          slide_checksum=CHECKSUM)  # fmt: skip
    return find_finished(folder).finished[0]


def said(number, verdict=ACCEPTED, box=(10.0, 20.0, 60.0, 70.0), name="normal"):
    return Correction(str(uuid.UUID(int=number)), box, verdict, name if verdict == ACCEPTED else None)


def test_the_last_word_counts_and_what_is_taken_back_does_not(slide):
    words = [said(1), said(2, REJECTED), said(1, name="sclerotic"), said(3), said(3, WITHDRAWN)]
    file = CorrectionFile(slide)
    for k, word in enumerate(words, 1):
        assert file.append(word) == words[:k]
    for reader in (file, CorrectionFile(slide)):
        assert reader.all() == words
        assert list(reader.standing().values()) == [words[2], words[1]]


def test_whether_a_box_was_drawn_is_kept_and_words_of_before_do_not_say_it(slide):
    words = [said(1), replace(said(2), drawn=True)]
    for word in words:
        CorrectionFile(slide).append(word)
    path = slide.folder / CORRECTIONS
    assert CorrectionFile(slide).all() == words
    path.write_text(path.read_text().replace(', "drawn": false', ""))
    assert path.read_text().count("drawn") == 1 and CorrectionFile(slide).all() == words


def test_nobody_has_said_anything(slide):
    assert CorrectionFile(slide).all() == [] and not (slide.folder / CORRECTIONS).exists()


def test_two_files_and_many_threads_lose_nothing(slide):
    files = [CorrectionFile(slide), CorrectionFile(slide)]
    files[0].append(said(0))

    def write(k):
        for n in range(10):
            files[k % 2].append(said(100 * k + n))

    threads = [threading.Thread(target=write, args=(k,)) for k in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = {said(0).id} | {said(100 * k + n).id for k in range(1, 5) for n in range(10)}
    for file in files:
        assert file.standing().keys() == everything and len(file.all()) == 41


@pytest.mark.parametrize("torn", [1, 20, -1])
def test_killed_within_a_line(slide, torn, caplog):
    """The line is as if it had never been said, but for one that only lacks its end; the next one is kept."""
    path = slide.folder / CORRECTIONS
    CorrectionFile(slide).append(said(1))
    before = path.read_bytes()
    CorrectionFile(slide).append(said(2))
    line = path.read_bytes()[len(before) :]
    path.write_bytes(before + line[:torn])
    assert CorrectionFile(slide).all() == [said(1)]
    file = CorrectionFile(slide)
    file.append(said(3))
    assert file.all() == [said(1), *([said(2)] if torn == -1 else []), said(3)]
    assert CorrectionFile(slide).all() == file.all()
    assert ("line 3 is torn, and left out" in caplog.text) == (torn != -1)


def test_killed_before_the_first_line_was_whole(slide):
    (slide.folder / CORRECTIONS).write_bytes(b'{"mhkd_corr')
    CorrectionFile(slide).append(said(1))
    assert CorrectionFile(slide).all() == [said(1)]


def test_a_full_disk_is_one_clear_error_and_nothing_said_is_lost(slide):
    file = CorrectionFile(slide)
    file.append(said(1))
    size = (slide.folder / CORRECTIONS).stat().st_size
    with room_for(size + 20), pytest.raises(InputError, match="corrections.jsonl|cannot be written"):
        file.append(said(2))
    assert file.append(said(3)) == [said(1), said(3)]


def test_results_that_were_removed_are_not_made_anew_of_a_correction(slide, tmp_path):
    file = CorrectionFile(slide)
    file.append(said(1))
    slide.folder.rename(tmp_path / "away")
    with pytest.raises(InputError, match=f"^{slide.folder}: is not there any more: put the results back"):
        file.append(said(2))
    (tmp_path / "away").rename(slide.folder)
    assert file.append(said(3)) == [said(1), said(3)]


def edit(slide, **changes):
    """The same results as of another slide."""
    run = json.loads((slide.folder / "run.json").read_text())
    (slide.folder / "run.json").write_text(json.dumps({**run, **changes}))
    return find_finished(slide.folder).finished[0]


@pytest.mark.parametrize("changes", [
    {"slide_checksum": {"bytes": 1001, "sha256": "cd"}},
    {"slide_checksum": None, "size_px": [400, 301]},
])  # fmt: skip
def test_corrections_of_another_slide_are_refused(slide, changes):
    CorrectionFile(slide).append(said(1))
    other = CorrectionFile(edit(slide, **changes))
    for act in (other.all, lambda: other.append(said(2))):
        with pytest.raises(InputError, match=f"{CORRECTIONS}: has the corrections of another slide"):
            act()
    assert CorrectionFile(slide).all() == [said(1)]


def test_a_slide_that_was_renamed_is_the_same(slide, tmp_path):
    CorrectionFile(slide).append(said(1))
    slide.folder.rename(tmp_path / "out" / "b.tiff")
    assert CorrectionFile(find_finished(tmp_path / "out").finished[0]).all() == [said(1)]


GOOD = {"id": str(uuid.UUID(int=1)), "box_px": [1, 2, 3, 4], "verdict": "accepted", "class_name": "normal"}


@pytest.mark.parametrize("changes", [
    {"id": "1"}, {"id": None}, {"box_px": [1, 2, 3]}, {"box_px": [3, 2, 1, 4]}, {"box_px": [1, 2, True, 4]},
    {"box_px": [1, 2, 3, float("nan")]}, {"box_px": [1, 2, 3, 10**400]}, {"box_px": "1234"},
    {"verdict": "maybe"}, {"verdict": ["accepted"]}, {"verdict": "rejected"}, {"class_name": None},
    {"class_name": " "}, {"class_name": 3}, {"class_name": "\ud800"}, {"drawn": 1}, {"drawn": None},
])  # fmt: skip
def test_what_is_no_correction_is_named_with_its_line(slide, changes):
    CorrectionFile(slide).append(said(1))
    with open(slide.folder / CORRECTIONS, "a") as f:
        f.write(json.dumps({**GOOD, **changes}) + "\n")
    with pytest.raises(InputError, match=f"{CORRECTIONS}: line 3 has "):
        CorrectionFile(slide).all()
