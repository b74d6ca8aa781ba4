"""DICOM slides, written by pydicom: the pixels of the slide they were made of, and what is not whole."""

import io
import shutil

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.errors import InputError
from mhkd.files import sha256
from mhkd.slide_detection.checksum import checksum
from mhkd.slides import dicom, tiff
from mhkd.slides.file_names import slide_name
from mhkd.slides.slide import Slide

import numpy as np
import pytest
from dicom_slide import write_level
from PIL import Image

SIZE_PX, TILE_PX = (300, 200), 128  # three tiles across, two down


def frames_of(path):
    """The JPEG tiles of a TIFF's first page, each a file of its own, and their colours in DICOM's words."""
    page = tiff.read_pages(path)[0]
    tables = bytes(page.tags[tiff.JPEG_TABLES])[:-2]
    content = path.read_bytes()
    places = zip(page.offsets.ravel(), page.byte_counts.ravel())
    frames = [tables + content[begin + 2 : begin + size] for begin, size in places]
    return frames, "RGB" if page.first(tiff.PHOTOMETRIC) == 2 else "YBR_FULL_422"


@pytest.mark.slow
def test_pixels_and_resolution_are_the_slides(tmp_path, one_level_slide):
    expected = Slide(one_level_slide)
    frames, colour = frames_of(one_level_slide)
    assert len(set(tiff.read_pages(one_level_slide)[0].unit_px)) == 1
    tile_px = tiff.read_pages(one_level_slide)[0].unit_px[0]
    series = tmp_path / "1.2.840.9"
    series.mkdir()
    write_level(series / "b.dcm", frames, expected.size_px, tile_px, (0.499, 0.499), colour=colour)
    small = expected.read_region(0, 0, 277, 370, 8 * 0.499)  # 8 times smaller
    padded = np.pad(small, ((0, -370 % tile_px), (0, -277 % tile_px), (0, 0)))
    tiles = [
        padded[y : y + tile_px, x : x + tile_px]
        for y in range(0, 370, tile_px)
        for x in range(0, 277, tile_px)
    ]
    write_level(
        series / "a.dcm", [jpeg(t) for t in tiles], (277, 370), tile_px, (4, 4), number=2, base=False
    )  # fmt: skip
    slide = Slide(series)
    assert slide_name(slide.path) == "1.2.840.9"
    assert slide.size_px == expected.size_px == (2220, 2967)
    assert slide.mpp_xy == pytest.approx((0.499, 0.499))
    read, wanted = (s.pixels.read(1, 0, 0, *s.size_px) for s in (slide, expected))
    np.testing.assert_array_equal(read, wanted)


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A series of two levels."""
    folder = tmp_path_factory.mktemp("whole")
    frames = [jpeg(np.random.default_rng(k).integers(0, 255, (128, 128, 3), np.uint8)) for k in range(6)]
    write_level(folder / "0.dcm", frames, SIZE_PX, TILE_PX, (0.5, 0.25))
    write_level(folder / "1.dcm", frames[:1], (75, 50), TILE_PX, (2, 1), number=2, base=False)
    return folder, frames


@pytest.fixture
def series(tmp_path, whole):
    """A copy of it, and its frames."""
    shutil.copytree(whole[0], tmp_path / "case")
    return tmp_path / "case", whole[1]


def test_a_whole_series(series):
    folder, _ = series
    (folder / "notes.txt").write_text("x")
    assert dicom.file_of(str(folder)) == str(folder / "0.dcm")
    assert dicom.series_of(str(folder / "1.dcm")) == dicom.series_of(str(folder / "0.dcm"))


def _cut(name, share):
    def edit(folder, frames):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return edit


def _without_frames(number):
    """The header says so, or not."""

    def edit(folder, frames):
        kept = frames[:4] + [None] * number
        write_level(folder / "0.dcm", kept, SIZE_PX, TILE_PX, (0.5, 0.25))

    return edit


def _another_series(folder, frames):
    write_level(folder / "2.dcm", frames, SIZE_PX, TILE_PX, (0.5, 0.25), series=2)


@pytest.mark.parametrize(
    "edit, fault",
    [
        (_cut("0.dcm", 0.5), "damaged or cut short"),
        (_cut("0.dcm", 0.97), "damaged or cut short"),
        (_cut("1.dcm", 0.5), "damaged or cut short"),
        (_cut("0.dcm", 0.005), "the level that was scanned is missing or damaged"),
        (lambda folder, frames: (folder / "0.dcm").unlink(), "the level that was scanned is missing"),
        (_without_frames(0), "damaged or cut short"),
        (_without_frames(2), "damaged or cut short"),
        (lambda folder, frames: (folder / "2.dcm").write_bytes(b""), "2.dcm: the file is empty"),
        (lambda folder, frames: (folder / "2.dcm").write_bytes(b"x" * 200), "2.dcm: is no DICOM file"),
        (_another_series, "has 2 DICOM series: put each into a folder of its own"),
        (lambda folder, frames: [p.unlink() for p in folder.iterdir()], "has no DICOM slide"),
    ],
)
def test_one_that_is_not_whole_is_one_error(series, edit, fault):
    folder, frames = series
    edit(folder, frames)
    with pytest.raises(InputError, match=fault) as error:
        dicom.file_of(str(folder))
    assert str(folder) in str(error.value)


@pytest.mark.slow
def test_the_error_is_the_slides(series):
    folder, frames = series
    _cut("0.dcm", 0.97)(folder, frames)
    for path in (folder, folder / "0.dcm"):
        with pytest.raises(InputError, match="DICOM series is damaged or cut short"):
            Slide(path).size_px  # noqa: B018


def test_checksums_are_of_all_files(series):
    folder, frames = series
    before = checksum(folder), sha256(folder)
    assert before == (checksum(folder), sha256(folder))
    assert before[0]["bytes"] == sum(p.stat().st_size for p in folder.iterdir())
    write_level(folder / "1.dcm", frames[1:2], (75, 50), TILE_PX, (2, 1), number=2, base=False)
    assert before[0] != checksum(folder) and before[1] != sha256(folder)


@pytest.mark.slow
def test_a_smaller_level_does_not_stand_for_a_damaged_one(series):
    """large-image leaves a level out of which it cannot read the first tile."""
    folder, frames = series
    content = (folder / "0.dcm").read_bytes()
    at = content.index(frames[0])
    (folder / "0.dcm").write_bytes(content[:at] + bytes(len(frames[0])) + content[at + len(frames[0]) :])
    with pytest.raises(InputError, match="case: its finest level is damaged or cut short"):
        Slide(folder).read_region(0, 0, 8, 8, 0.5)
