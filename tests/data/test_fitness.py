"""What is found before training: no objects, images too small or cut short, regions off their slides."""

import io
import json

from mhkd.cli import main
from mhkd.data import read_regions
from mhkd.data.fitness import check_fitness
from mhkd.data.mapper import PairedResolutionMapper
from mhkd.data.registrar import ensure_registered
from mhkd.engine import prepare_datasets
from mhkd.errors import InputError
from mhkd.slides.images import check_whole, image_size

import numpy as np
import pytest
from click.testing import CliRunner
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from support import edit_coco, tiny_config, write_disks
from tiled_slides import write_slide


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The dataset "fit": fit_train of three images with two disks each, fit_val of one."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    yield write_disks(tmp_path, "fit", (("train", 3), ("val", 1)))
    for name in ("fit_train", "fit_val"):
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def config(*options):
    return tiny_config("unused", ["DATASETS.TRAIN", ("fit_train",), "DATASETS.TEST", ("fit_val",), *options])


def no_annotations(content):
    content["annotations"] = []


def all_ignored(content):
    for annotation in content["annotations"]:
        annotation["ignore"] = 1


@pytest.mark.parametrize("empty", [no_annotations, all_ignored])
def test_a_split_without_objects_is_found_before_training(folder, empty):
    prepare_datasets(config())
    path = edit_coco(folder, empty)
    with pytest.raises(InputError, match=f"{path}: no image .* nothing to learn"):
        prepare_datasets(config())
    prepare_datasets(config(), training=False)  # a trained student may still be scored
    unlabeled = ["MHKD.UNLABELED_RATIO", 1.0, "MHKD.UNLABELED", ("fit_train",)]
    with pytest.raises(InputError, match="nothing to learn"):  # by the teacher
        prepare_datasets(config(*unlabeled))
    prepare_datasets(config(*unlabeled, "MODEL.TEACHER.WEIGHTS", "teacher.pth"))

    path = edit_coco(folder, empty, "val")
    with pytest.raises(InputError, match=f"{path}: no image .* nothing to score"):
        prepare_datasets(config(*unlabeled, "MODEL.TEACHER.WEIGHTS", "teacher.pth"))


@pytest.mark.parametrize("key", ["LABELED_SHARE", "TEACHER_LABELED_SHARE"])
def test_a_share_of_the_images_without_objects(folder, key):
    options = [f"MHKD.{key}", 0.34]  # one of the three
    edit_coco(folder, lambda c: c.update(annotations=[a for a in c["annotations"] if a["image_id"] == 2]))
    with pytest.raises(InputError, match=rf"MHKD.{key} 0.34 of fit_train, 1 images: no image"):
        for seed in range(20):
            prepare_datasets(config(*options, "SEED", seed))
    prepare_datasets(config(*options, "DATALOADER.FILTER_EMPTY_ANNOTATIONS", True))


def resize(folder, width, height):
    Image.new("RGB", (width, height)).save(folder / "images" / "train_1.png")

    def edit(content):
        content["images"][1].update(width=width, height=height)
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 2]

    return edit_coco(folder, edit)


SMALL = [((3, 128), "0x32"), ((128, 1), "32x0"), ((4, 4), "1x1"), ((128, 7), "32x1")]


@pytest.mark.parametrize("size, lr", SMALL)
def test_an_image_too_small_for_the_lr_factor(folder, size, lr):
    path = resize(folder, *size)
    with pytest.raises(InputError, match=f"{path}: image 2 .*1.png.* width and height .* {lr} LR pixels"):
        prepare_datasets(config())


def test_two_lr_pixels_are_enough_and_one_does_not_crash(folder):
    resize(folder, 8, 8)
    prepare_datasets(config())
    resize(folder, 4, 4)
    ensure_registered(["fit_train"])
    mapper = PairedResolutionMapper(is_train=True, lr_factor=4, flip_prob=1.0, crop_size_px=(64, 64))
    out = mapper(DatasetCatalog.get("fit_train")[1])
    assert out["image"].shape == out["image_lr"].shape == (3, 4, 4)


def test_an_lr_file_must_fit_the_factor(folder):
    Image.new("RGB", (32, 32)).save(folder / "lr.png")
    path = edit_coco(folder, lambda c: c["images"][0].update(lr_file_name="lr.png"))
    prepare_datasets(config())
    with pytest.raises(InputError, match=f"{path}: image 1 .*lr_file_name .*lr.png of 32x32 px.* 64x64"):
        prepare_datasets(config("INPUT.LR_FACTOR", 2))


def test_masks_that_are_asked_for_must_be_there(folder):
    options = ["MODEL.MASK_ON", True]
    square = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]]
    edit_coco(folder, lambda c: [a.update(segmentation=square) for a in c["annotations"]])
    prepare_datasets(config(*options))
    mask = {"size": [128, 128], "counts": [200, 9, 128 * 128 - 209]}
    edit_coco(folder, lambda c: c["annotations"][5].update(segmentation=mask))
    prepare_datasets(config(*options))
    with pytest.raises(InputError, match="MODEL.MASK_ON True: a FCOSDetector finds boxes alone"):
        prepare_datasets(config(*options, "MODEL.TEACHER.META_ARCHITECTURE", "FCOSDetector"))
    edit_coco(folder, lambda c: c["annotations"][0].pop("segmentation"))
    with pytest.raises(InputError, match="image 1 .*without the outline that MODEL.MASK_ON asks for"):
        prepare_datasets(config(*options))


def encoded(suffix, **options):
    pixels = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, suffix, **options)
    return buffer.getvalue()


def with_thumbnail():
    """A JPEG whose EXIF block holds a whole JPEG, end mark and all."""
    exif = Image.Exif()
    exif[0x010E] = encoded("JPEG").hex()[:2000] + "\u00ff\u00d9"
    return encoded("JPEG", exif=exif.tobytes() + b"\xff\xd9" * 3)


FILES = {
    "png": encoded("PNG"), "jpg": encoded("JPEG"), "progressive.jpg": encoded("JPEG", progressive=True),
    "thumbnail.jpg": with_thumbnail(), "tif": encoded("TIFF"),
    "lzw.tif": encoded("TIFF", compression="tiff_lzw"),
    "bmp": encoded("BMP"), "webp": encoded("WEBP"), "gif": encoded("GIF"), "jp2": encoded("JPEG2000"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", FILES)
def test_an_image_that_is_cut_short_is_found_when_the_dataset_is_loaded(folder, suffix):
    path = folder / f"image.{suffix}"
    edit_coco(folder, lambda c: c["images"][0].update(file_name=path.name))
    ensure_registered(["fit_train"])
    for trailing in (b"", b"\n", bytes(40)):
        path.write_bytes(FILES[suffix] + trailing)
        assert len(DatasetCatalog.get("fit_train")) == 3
        check_whole(path)
    for share in (0.2, 0.5, 0.9, 0.99):
        path.write_bytes(FILES[suffix][: int(share * len(FILES[suffix]))])
        with pytest.raises(InputError, match=str(path)) as e:
            DatasetCatalog.get("fit_train")
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_file_whose_rest_is_zeros_is_cut_short(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    half = len(FILES[suffix]) // 2
    path.write_bytes(FILES[suffix][:half] + bytes(half))
    with pytest.raises(InputError, match=str(path)):
        check_whole(path)


def test_the_size_of_a_png_is_read_without_its_pixels(tmp_path):
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    assert image_size(path) == (20, 30)
    content = path.read_bytes()
    begin = content.index(b"eXIf") - 4
    end = begin + 12 + int.from_bytes(content[begin : begin + 4], "big")
    path.write_bytes(content[:begin] + content[end:-12] + content[begin:end] + content[-12:])  # after them
    assert image_size(path) == (20, 30)
    path.write_bytes(content[:begin] + content[end:])
    assert image_size(path) == (30, 20)


@pytest.mark.parametrize("key", ["file_name", "lr_file_name"])
def test_inspect_decodes_every_image_and_strict_fails(folder, key, monkeypatch):
    arguments = ["inspect", "fit_train", "--strict", "--num-images", "0", "--out", str(folder / "out")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    path = folder / "image.png"
    edit_coco(folder, lambda c: c["images"][1].update({key: path.name}))
    whole = FILES["png"]
    for broken in (whole[: len(whole) // 2], whole[:9000] + bytes(2000) + whole[11000:]):  # as long as it was
        path.write_bytes(broken)
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 1 and "1 images that training refuses" in result.output
        assert str(path) in result.output


def as_regions(folder, x_px):
    slide = write_slide(folder, "slide")

    def edit(content):
        for k, image in enumerate(content["images"]):
            region = {"slide_file": str(slide), "x_px": x_px * (k == 2), "y_px": 0, "mpp": 0.5}
            image.update(file_name=str(slide), region=region, slide=f"s{k}")

    return edit_coco(folder, edit)


@pytest.mark.parametrize("as_columns", [False, True])
def test_regions_must_lie_on_a_slide_that_opens(folder, monkeypatch, as_columns):
    if as_columns:
        monkeypatch.setattr(read_regions, "MIN_BYTES", 0)
    as_regions(folder, 0)
    prepare_datasets(config())
    path = as_regions(folder, 10**6)
    with pytest.raises(InputError, match=f"{path}: image 3 lies off its slide .*x_px and y_px"):
        prepare_datasets(config())
    edit_coco(folder, lambda c: [i.update(width=7) or c.update(annotations=[]) for i in c["images"][:1]])
    with pytest.raises(InputError, match="image 1 .*7x128 px"):
        check_fitness("fit_train", DatasetCatalog.get("fit_train"), 4)
    as_regions(folder, 0)
    slide = json.loads(path.read_text())["images"][0]["file_name"]
    with open(slide, "r+b") as f:
        f.truncate(2000)
    with pytest.raises(InputError, match=slide):
        prepare_datasets(config())
