import os
import shutil
import subprocess
from pathlib import Path

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slide_detection.finished import find_finished
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.run import detect_slide

import numpy as np
import pytest
import pyvips
import tifftools
import torch
from blob_student import TISSUE, blob_student, write_disks, write_slide
from detectron2.structures import Boxes, pairwise_iou
from support import mounted


def detected(path, out, student=None, **options):
    detect_slide(path, out, student or blob_student(), DetectOptions(**options), progress=False)
    (one,), _, _ = find_finished(out / os.path.basename(path))
    found = one.detections()
    return found.boxes_px, found.classes, one.run


def best_iou(boxes, others):
    iou = pairwise_iou(*(Boxes(torch.as_tensor(b, dtype=torch.float64)) for b in (boxes, others)))
    return (v.numpy() for v in iou.max(dim=1))


def check_found(found, classes, boxes, true_classes, slack_px):
    assert len(found) == len(boxes)
    iou, which = best_iou(boxes, found)
    assert len(set(which)) == len(boxes)
    assert (classes[which] == true_classes).all()
    assert np.abs(found[which] - boxes).max() <= slack_px
    return found[which]


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    return write_disks(tmp_path_factory.mktemp("slides") / "disks.tiff")


def test_every_disk_is_found_once_where_it_is(disks, tmp_path):
    path, boxes, true_classes = disks
    assert len(boxes) == 100
    found, classes, run = detected(path, tmp_path)
    # an LR pixel is 4 base pixels
    found = check_found(found, classes, boxes, true_classes, slack_px=1.25 * 8 / 2)
    middles = [(b[:, :2] + b[:, 2:]) / 2 for b in (found, boxes)]
    assert np.abs(np.mean(middles[0] - middles[1], axis=0)).max() <= 0.5  # no shift
    assert run["tiles"] == 25  # 3.6 mm of tissue, cores of 724 um, the first and last of a row more
    assert not (tmp_path / "disks.tiff" / ".work").exists()


def test_axes_of_different_resolution(tmp_path):
    path, boxes, true_classes = write_disks(tmp_path / "wide.tiff", (2400, 2000), mpp=(2.0, 3.2))
    found, classes, run = detected(path, tmp_path / "out")
    check_found(found, classes, boxes, true_classes, slack_px=1.25 * 8 / 2)
    assert run["mpp_xy"] == pytest.approx([2.0, 3.2], rel=1e-3)


def test_slide_of_the_students_own_resolution_and_one_that_is_smaller_than_a_tile(tmp_path):
    path, boxes, true_classes = write_disks(tmp_path / "own.tiff", (1000, 1000), mpp=(8.0, 8.0))
    student = blob_student(tile_px=512)
    found, classes, run = detected(path, tmp_path / "out", student)
    check_found(found, classes, boxes, true_classes, slack_px=1)
    assert run["tiles"] == 1 and run["parameters"]["tile_px"] == [125, 125]


def test_resolution_given_by_hand(tmp_path):
    path, boxes, true_classes = write_disks(tmp_path / "none.tiff", (2000, 1600), record_mpp=False)
    with pytest.raises(InputError, match="none.tiff.*--slide-mpp"):
        detected(path, tmp_path / "out")
    found, classes, _ = detected(path, tmp_path / "out", slide_mpp=2.0)
    check_found(found, classes, boxes, true_classes, slack_px=5)


def test_a_recorded_resolution_is_only_replaced_in_so_many_words(tmp_path):
    path, boxes, true_classes = write_disks(tmp_path / "recorded.tiff", (2000, 1600), mpp=(2.0, 2.0))
    found, classes, run = detected(path, tmp_path / "out", slide_mpp=4.0)
    check_found(found, classes, boxes, true_classes, slack_px=5)
    assert run["mpp_xy"] == [2, 2] and run["parameters"]["slide_mpp"] is None
    assert "2 um per pixel, kept: --slide-mpp 4" in run["warnings"][0]
    _, _, run = detected(path, tmp_path / "replaced", override_slide_mpp={"recorded": 4.0})
    assert run["mpp_xy"] == [4, 4] and "replaced by --override-slide-mpp 4" in run["warnings"][0]


def test_coarse_slide_is_warned_of(tmp_path, caplog):
    path, *_ = write_disks(tmp_path / "coarse.tiff", (2000, 1600), mpp=(12.0, 12.0))
    _, _, run = detected(path, tmp_path / "out")
    assert "12 um per pixel, coarser than the 8" in run["warnings"][0]
    assert "coarse.tiff" in caplog.text


@pytest.mark.slow
def test_shifting_the_grid_changes_hardly_a_detection(tmp_path):
    path, boxes, _ = write_disks(tmp_path / "many.tiff", (8200, 8200), mpp=(4.0, 4.0), seed=1)
    student = blob_student()
    here, _, run = detected(path, tmp_path / "a", student)
    there, _, shifted = detected(path, tmp_path / "b", student, grid_shift_um=512.0)
    assert len(here) >= 500
    iou, which = best_iou(here, there)
    changed = (iou < 0.5).sum() + len(set(range(len(there))) - set(which))
    assert changed <= 0.05 * len(here)
    assert len(here) == len(boxes)


@pytest.mark.slow
def test_boxes_that_end_short_of_the_tile_are_not_counted_beside_the_whole(disks, tmp_path):
    """As a network's do: what it sees of a disk that the tile cuts ends before the tile's side."""

    class Shy(type(blob_student().network)):
        def forward(self, batch):
            outputs = super().forward(batch)
            for entry, output in zip(batch, outputs):
                boxes = output["instances"].pred_boxes.tensor
                at_end = torch.hstack([boxes[:, :2] <= 0, boxes[:, 2:] >= entry["image"].shape[1]])
                short = 0.15 * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
                boxes += torch.where(at_end, short, 0) * torch.tensor([1, 1, -1, -1])
            return outputs

    path, boxes, true_classes = disks
    for shift_um in (0.0, 200.0, 512.0):
        student = blob_student(network=Shy())
        found, classes, _ = detected(path, tmp_path / str(shift_um), student, grid_shift_um=shift_um)
        check_found(found, classes, boxes, true_classes, slack_px=5)


@pytest.mark.slow
def test_little_tissue_is_a_warning(tmp_path):
    pixels = np.full((3000, 3000, 3), 245, np.uint8)
    pixels[1000:1080, 1000:1080] = (190, 120, 180)
    _, _, run = detected(write_slide(tmp_path / "speck.tiff", pixels), tmp_path / "out")
    assert "% of the slide, was found; if there is more, --glass-too" in run["warnings"][-1]


def test_glass_is_searched_only_on_request(tmp_path):
    path = write_slide(tmp_path / "glass.tiff", np.full((500, 500, 3), 245, np.uint8))
    with pytest.raises(InputError, match="glass.tiff: there is no tissue .*--glass-too"):
        detected(path, tmp_path / "out")
    found, _, run = detected(path, tmp_path / "out", tissue_only=False)
    assert len(found) == 0 and run["tiles"] == 1
    assert (tmp_path / "out" / "glass.tiff" / "overview.png").exists()


@pytest.mark.slow
def test_tissue_only_saves_tiles_and_loses_nothing(tmp_path):
    image = np.full((2000, 2000, 3), 245, np.uint8)
    for x, y in ((300, 400), (1500, 500), (700, 1500)):
        image[y : y + 400, x : x + 400] = TISSUE
        image[y + 150 : y + 230, x + 150 : x + 230] = (70, 20, 80)
    path = write_slide(tmp_path / "cores.tiff", image)
    found, _, run = detected(path, tmp_path / "a")
    every, _, all_of_it = detected(path, tmp_path / "b", tissue_only=False)
    assert len(found) == len(every) == 3
    assert best_iou(found, every).__next__().min() > 0.9
    assert run["tiles"] <= 12 < all_of_it["tiles"]


@pytest.mark.slow
def test_results_do_not_depend_on_the_threshold_of_others(disks, tmp_path):
    """Merging comes before the threshold: a higher one takes away rows, no more."""
    path, *_ = disks
    low, *_ = detected(path, tmp_path / "a", keep_from_score=0.05)
    high, *_ = detected(path, tmp_path / "b", keep_from_score=0.835, score_threshold=0.9)
    assert 0 < len(high) < len(low)
    assert {tuple(b) for b in high} <= {tuple(b) for b in low}


def student_during_which(happens):
    """Once, before it looks at its first tiles."""
    todo = [happens]

    class Interrupted(type(blob_student().network)):
        def forward(self, batch):
            while todo:
                todo.pop()()
            return super().forward(batch)

    return blob_student(network=Interrupted())


@pytest.fixture
def small_slide(tmp_path):
    return Path(write_disks(tmp_path / "small.tiff", (2000, 1600))[0])


@pytest.mark.parametrize("by", ["nothing", "another of the same size and time"])
def test_slide_taken_away_or_replaced_while_it_is_read(small_slide, tmp_path, by):
    other = tmp_path / "other.tiff"
    shutil.copy2(small_slide, other)  # as one of an equal scanner may be

    def happens():
        if by == "nothing":
            small_slide.unlink()
        else:
            other.replace(small_slide)

    with pytest.raises(InputError, match="small.tiff: was taken away or changed"):
        detected(small_slide, tmp_path / "out", student_during_which(happens))
    assert not (tmp_path / "out" / "small.tiff" / "run.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["deflate", "jpeg"])
def test_a_damaged_tile_is_named_and_the_whole_slide_gone_on_from(tmp_path, compression):
    """In the middle of the level that is searched its bytes are noise; the file's structure is sound."""
    path = Path(write_disks(tmp_path / "slide.tiff", (4000, 4000))[0])
    pyvips.Image.new_from_file(str(path), access="sequential").tiffsave(
        str(tmp_path / "jpeg.tiff"), tile=True, pyramid=True, compression=compression, Q=90
    )
    path = (tmp_path / "jpeg.tiff").replace(path)
    whole, time = path.read_bytes(), path.stat().st_mtime_ns
    tags = tifftools.read_tiff(str(path))["ifds"][2]["tags"]
    offset, count = (tags[tag]["data"][10] for tag in (324, 325))  # of 4 x 4 tiles of 1024 um
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(np.random.default_rng(0).bytes(count))
    os.utime(path, ns=(time, time))
    out, student = tmp_path / "out", blob_student()
    for _ in range(2):  # given again, the same
        with pytest.raises(
            InputError, match=r"slide.tiff: its pixels at base pixel \(\d+, \d+\) are damaged: copy"
        ):
            detected(path, out, student, batch_size=1)
    assert not (out / "slide.tiff" / "run.json").exists()
    path.write_bytes(whole)
    os.utime(path, ns=(time, time))
    found, _, run = detected(path, out, student, batch_size=1)
    assert 0 < run["timings"]["batches_of_earlier_runs"] < run["timings"]["batches"]
    assert (found == detected(path, tmp_path / "anew", student, batch_size=1)[0]).all()


def test_results_removed_while_they_are_made(small_slide, tmp_path):
    """What was found before is not written to a folder of which the rest is gone; begun anew it is whole."""
    out = tmp_path / "out"
    student = student_during_which(lambda: shutil.rmtree(out))
    with pytest.raises(InputError, match="small.tiff/.work: was removed, or moved away, while this run"):
        detected(small_slide, out, student)
    assert not out.exists()
    assert len(detected(small_slide, out)[0]) > 0


def test_a_disk_that_is_full_and_one_that_becomes_read_only(small_slide, tmp_path):
    """Of the kernel's own: it fills in the middle of the results, and the journal is whole."""
    out = tmp_path / "out"
    with mounted(out, "size=32k"):
        with pytest.raises(InputError, match="small.tiff: cannot be written .No space left|No space left"):
            detected(small_slide, out)
        assert not (out / "small.tiff" / "run.json").exists()
        subprocess.run(["mount", "-o", "remount,size=10m", out], check=True)
        detected(small_slide, out)
        before = (out / "small.tiff" / "run.json").read_bytes()
        subprocess.run(["mount", "-o", "remount,ro", out], check=True)
        with pytest.raises(InputError, match="small.tiff: cannot be written .Read-only"):
            detected(small_slide, out, blob_student(checksum="other"))
        assert (out / "small.tiff" / "run.json").read_bytes() == before


def test_a_clock_that_goes_back_makes_no_finished_slide_another(small_slide, tmp_path):
    """Results from the future, and from before their slide, are what they are."""
    _, _, run = detected(small_slide, tmp_path / "out")
    file = tmp_path / "out" / "small.tiff" / "run.json"
    for seconds in (0, 2**32):
        os.utime(file, (seconds, seconds))
        never = student_during_which(lambda: pytest.fail("looked at it again"))
        assert detected(small_slide, tmp_path / "out", never)[2] == run
