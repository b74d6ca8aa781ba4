from mhkd.data.augmentation import Augmentation
from mhkd.data.loader import ShuffledStream, build_train_loader
from mhkd.data.mapper import PairedResolutionMapper, to_tensor, upsample
from mhkd.data.scanner import Scanner
from mhkd.errors import InputError
from mhkd.slides.views import read_view

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.structures import BoxMode
from detectron2.structures.masks import polygons_to_bitmask

F = 4


@pytest.fixture
def entry(tmp_path):
    """A 66 x 98 image whose pixels tell where they lie: red = x, green = y, in LR pixels."""
    y, x = np.mgrid[:66, :98] // F
    pixels = np.stack([x * 4, y * 4, np.zeros_like(x)], 2).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[:, :, ::-1])
    box = {"bbox": [20, 8, 24, 32], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "iscrowd": 0}
    crowd = {**box, "iscrowd": 1}
    return {
        "file_name": str(tmp_path / "a.png"),
        "image_id": 7,
        "height": 66,
        "width": 98,
        "annotations": [box, crowd],
    }


def test_both_views_of_a_random_crop_show_the_same_tissue(entry):
    mapper = PairedResolutionMapper(is_train=True, lr_factor=F, crop_size_px=(32, 48), flip_prob=0.5)
    seen = set()
    for seed in range(20):
        np.random.seed(seed)
        out = mapper(entry)
        hr, lr = out["image"], out["image_lr"]
        assert hr.shape == lr.shape == (3, 32, 48) and hr.dtype == torch.uint8
        # Every HR block is one LR pixel here, so their means over blocks agree up to the bilinear blur
        # at the crop's own rim and up to rounding.
        blocks = [t[:2].float().unfold(1, F, F).unfold(2, F, F).mean((-1, -2)) for t in (hr, lr)]
        torch.testing.assert_close(blocks[0][:, 1:-1, 1:-1], blocks[1][:, 1:-1, 1:-1], atol=1, rtol=0)
        seen.add((hr[0, 0, 0].item(), hr[1, 0, 0].item(), hr[0, 0, -1].item() > hr[0, 0, 0].item()))
    assert len(seen) > 10  # crops and flips really differ


def test_boxes_follow_crop_and_flip(entry):
    mapper = PairedResolutionMapper(is_train=True, lr_factor=F, flip_prob=1.0)
    out = mapper(entry)
    # 98 x 66 is cropped to 96 x 64; both flips: x -> 96 - x, y -> 64 - y; the crowd box is no target
    assert out["instances"].gt_boxes.tensor.tolist() == [[52, 24, 76, 56]]
    assert out["instances"].image_size == (64, 96)


def test_regions_to_be_ignored_follow_crop_and_flip_and_are_cut(entry):
    mapper = PairedResolutionMapper(is_train=True, lr_factor=F, flip_prob=1.0)
    assert mapper(entry)["ignore_boxes"].tensor.tolist() == [[52, 24, 76, 56]]  # as the object's box
    plain = {**entry, "annotations": entry["annotations"][:1]}
    assert mapper(plain)["ignore_boxes"].tensor.shape == (0, 4)
    assert "ignore_boxes" not in mapper({**entry, "unlabeled": True})

    # The crowd covers x 20 to 44, y 8 to 40; pixels tell which part of the image a crop is.
    mapper = PairedResolutionMapper(is_train=True, lr_factor=F, crop_size_px=(32, 32), flip_prob=0)
    seen = set()
    for seed in range(20):
        np.random.seed(seed)
        out = mapper(entry)
        x, y = (int(v) for v in out["image"][:2, 0, 0])  # 4 grey levels an LR pixel of 4 px
        expected = [max(20 - x, 0), max(8 - y, 0), min(44 - x, 32), min(40 - y, 32)]
        if expected[0] < expected[2] and expected[1] < expected[3]:
            assert out["ignore_boxes"].tensor.tolist() == [expected]
        else:
            assert len(out["ignore_boxes"]) == 0
        seen.add(len(out["ignore_boxes"]))
    assert seen == {0, 1}


@pytest.mark.parametrize("form", ["polygon", "rle"])
@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.8, 1.25)])
def test_masks_follow_the_pixels_and_the_boxes(tmp_path, form, scale):
    """An L on white: wherever crop, flips, turn and scale bring it, its mask covers its pixels."""
    corners = [20, 16, 36, 16, 36, 40, 68, 40, 68, 52, 20, 52]
    drawn = polygons_to_bitmask([np.array(corners)], 96, 128)
    cv2.imwrite(str(tmp_path / "l.png"), np.where(drawn, 0, 255).astype(np.uint8)[:, :, None].repeat(3, 2))
    packed = mask_util.encode(np.asfortranarray(drawn.astype(np.uint8)))
    outline = [corners] if form == "polygon" else packed
    box = {
        "bbox": [20.0, 16.0, 48.0, 36.0],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 0,
        "segmentation": outline,
    }
    entry = {"file_name": str(tmp_path / "l.png"), "image_id": 1, "height": 96, "width": 128}
    varied = Augmentation(scale=scale, quarter_turns=True)
    mapper = PairedResolutionMapper(
        is_train=True, lr_factor=F, crop_size_px=(64, 80), flip_prob=0.5, augmentation=varied, masks=True
    )
    whole = 0
    for seed in range(12):
        np.random.seed(seed)
        out = mapper({**entry, "annotations": [box]})
        dark = out["image"][0].numpy() < 128
        found = out["instances"]
        if not len(found):
            assert dark.sum() == 0
            continue
        if form == "polygon":
            mask = polygons_to_bitmask(found.gt_masks.polygons[0], *dark.shape)
            corners_px = np.concatenate(
                [p.reshape(-1, 2) for p in found.gt_masks.polygons[0]] or [np.ones((0, 2))]
            )
            x0, y0, x1, y1 = found.gt_boxes.tensor[0].numpy()
            assert (corners_px >= (x0 - 1e-3, y0 - 1e-3)).all() and (
                corners_px <= (x1 + 1e-3, y1 + 1e-3)
            ).all()
        else:
            mask = found.gt_masks.tensor[0].numpy()
        rim = dark.sum() ** 0.5 * 4 if scale != (1, 1) else 0  # half a pixel along the outline
        assert (mask != dark).sum() <= rim
        whole += dark.sum() > 900
    assert whole >= 3


def test_evaluation_gives_one_image_in_the_datasets_pixels(entry):
    hr = PairedResolutionMapper(is_train=False, view="hr", lr_factor=F)(entry)
    lr = PairedResolutionMapper(is_train=False, view="lr", lr_factor=F)(entry)
    for out in (hr, lr):
        assert out["image"].shape == (3, 64, 96)
        # Rescaling boxes from 96 x 64 to the file's 98 x 66 would shift them: the view's size counts.
        assert (out["height"], out["width"], out["image_id"]) == (64, 96, 7)
        assert "annotations" not in out
    assert len(hr["image"][0].unique()) == 24  # steps of one LR pixel
    assert len(lr["image"][0].unique()) > 60  # ... which the bilinear upsampling smooths


def test_channel_order(entry):
    rgb, bgr = (
        PairedResolutionMapper(is_train=False, view="hr", lr_factor=F, image_format=f)(entry)["image"]
        for f in ("RGB", "BGR")
    )
    assert torch.equal(rgb, bgr.flip(0)) and not torch.equal(rgb, bgr)


def test_crop_must_lie_on_lr_pixels():
    with pytest.raises(InputError, match="CROP.SIZE.*multiples of INPUT.LR_FACTOR 4"):
        PairedResolutionMapper(is_train=True, lr_factor=F, crop_size_px=(30, 32))


def test_stream_is_a_function_of_seed_and_draw():
    def mapper(d):
        return d["n"], np.random.rand()

    dicts = [{"n": n} for n in range(5)]
    one, two = ShuffledStream(dicts, mapper, 3), ShuffledStream(dicts, mapper, 3)
    draws = [one[n] for n in range(15)]
    assert [two[n] for n in (14, 2, 7)] == [draws[n] for n in (14, 2, 7)]  # any order, any process
    for epoch in range(3):
        assert sorted(n for n, _ in draws[5 * epoch : 5 * epoch + 5]) == list(range(5))
    assert [n for n, _ in draws[:5]] != [n for n, _ in draws[5:10]]
    assert [ShuffledStream(dicts, mapper, 4)[n] for n in range(15)] != draws


def test_loader_resumes_and_is_the_same_with_workers(disks_cfg):
    def ids(start, end):
        loader = build_train_loader(disks_cfg, PairedResolutionMapper(disks_cfg, True), start, end)
        return [[(x["image_id"], int(x["image"].sum())) for x in batch] for batch in loader]

    from mhkd.data.registrar import ensure_registered

    ensure_registered(disks_cfg.DATASETS.TRAIN)
    disks_cfg.SOLVER.IMS_PER_BATCH = 2
    whole = ids(0, 6)
    assert [len(b) for b in whole] == [2] * 6
    assert ids(4, 6) == whole[4:]
    disks_cfg.DATALOADER.NUM_WORKERS = 2
    assert ids(0, 6) == whole


def test_lr_file_name_is_used(entry, tmp_path):
    cv2.imwrite(str(tmp_path / "lr.png"), np.full((16, 24, 3), 200, np.uint8))
    entry["lr_file_name"] = str(tmp_path / "lr.png")
    out = PairedResolutionMapper(is_train=True, lr_factor=F)(entry)
    assert (out["image_lr"] == 200).all() and not (out["image"] == 200).all()


def test_the_scanner_sees_lr_pixels_and_leaves_everything_else_alone(entry):
    def mapped(scanner, **settings):
        np.random.seed(5)
        return PairedResolutionMapper(lr_factor=F, scanner=scanner, **settings)(entry)

    blur = Scanner(blur_px=2.0)
    clean, scanned = (mapped(s, is_train=True, crop_size_px=(32, 48)) for s in (None, blur))
    assert torch.equal(clean["image"], scanned["image"])
    assert torch.equal(clean["instances"].gt_boxes.tensor, scanned["instances"].gt_boxes.tensor)
    assert not torch.equal(clean["image_lr"], scanned["image_lr"])

    assert torch.equal(*(mapped(s, is_train=False, view="hr")["image"] for s in (None, blur)))
    expected = upsample(blur.scan(read_view(entry, "lr", F), entry["file_name"]), F)
    assert torch.equal(mapped(blur, is_train=False)["image"], to_tensor(expected))
    rgb, bgr = (mapped(Scanner(0, 9, 50), is_train=False, image_format=f)["image"] for f in ("RGB", "BGR"))
    assert torch.equal(rgb, bgr.flip(0))


def test_the_scanner_is_configured(disks_cfg):
    disks_cfg.merge_from_list(["INPUT.SCANNER.BLUR_PX", "1.5", "INPUT.SCANNER.JPEG_QUALITY", "60"])
    mapper = PairedResolutionMapper(disks_cfg, False)
    assert mapper.scanner == Scanner(blur_px=1.5, jpeg_quality=60)
