"""A small copy of the Kaggle folder: its layout, its kinds of TIFF, its two kinds of annotation."""

import csv
import hashlib
import importlib.util
import json
import shutil

from mhkd.data import check_dataset, read_view, register_folders
from mhkd.errors import InputError

import cv2
import numpy as np
import pytest
import tifffile
from annotations.writers import hubmap_csv
from click.testing import CliRunner
from detectron2.data import MetadataCatalog
from support import REPO

spec = importlib.util.spec_from_file_location("prepare_hubmap", REPO / "datasets/prepare_hubmap.py")
prepare_hubmap = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prepare_hubmap)

# id -> (mpp, patient, glomeruli as (x, y, radius) in base pixels). Tiles of 128 px at 4 um are 512 um.
SIZE_PX = (1300, 900)
SLIDES = {
    "1e2425f28": (0.5, "63921", [(400, 500, 200), (1100, 300, 150)]),
    "2f6ecfcdf": (0.65, "68250", [(300, 300, 150)]),  # channels on three pages
    "aaa6a05cc": (0.65, "63921", [(600, 400, 160)]),  # runs, no JSON
}
STAIN, PURPLE = (225, 170, 205), (120, 30, 140)
INFORMATION = "HuBMAP-20-dataset_information.csv"


def draw(glomeruli):
    rgb = np.full((SIZE_PX[1], SIZE_PX[0], 3), STAIN, np.uint8)
    mask = np.zeros(rgb.shape[:2], np.uint8)
    for x, y, r in glomeruli:
        cv2.circle(rgb, (x, y), r, PURPLE, -1)
        cv2.circle(mask, (x, y), r, 1, -1)
    return rgb, mask


def feature(points, name):
    return {
        "type": "Feature",
        "id": "PathAnnotationObject",
        "geometry": {"type": "Polygon", "coordinates": [points]},
        "properties": {"classification": {"name": name, "colorRGB": -3140401}, "isLocked": True},
    }


def circle(x, y, r):
    angles = np.linspace(0, 2 * np.pi, 73)
    return np.stack([x + r * np.cos(angles), y + r * np.sin(angles)], axis=1).round().tolist()


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kaggle") / "hubmap-kidney-segmentation"
    train = folder / "train"
    train.mkdir(parents=True)
    masks, rows = {}, []
    for name, (mpp, patient, glomeruli) in SLIDES.items():
        rgb, masks[name] = draw(glomeruli)
        metadata = {f"PhysicalSize{a}": mpp for a in "XY"}
        metadata |= {f"PhysicalSize{a}Unit": "µm" for a in "XY"}
        pages = name == "2f6ecfcdf"
        tifffile.imwrite(
            train / f"{name}.tiff",
            rgb.transpose(2, 0, 1) if pages else rgb,
            photometric="minisblack" if pages else "rgb",
            ome=True,
            metadata={"axes": "CYX" if pages else "YXS", **metadata},
        )
        if name != "aaa6a05cc":
            outlines = [feature(circle(*g), "glomerulus") for g in glomeruli]
            (train / f"{name}.json").write_text(json.dumps(outlines))
        cortex = feature([[0, 0], [1300, 0], [1300, 900], [0, 0]], "Cortex")
        (train / f"{name}-anatomical-structure.json").write_text(json.dumps([cortex]))
        rows.append([f"{name}.tiff", *SIZE_PX, f"{name}-anatomical-structure.json", f"{name}.json", patient])
    hubmap_csv(folder / "train.csv", masks)
    header = ["image_file", "width_pixels", "height_pixels", "anatomical_structures_segmention_file"]
    with open(folder / INFORMATION, "w", newline="") as f:
        csv.writer(f).writerows([[*header, "glomerulus_segmentation_file", "patient_number"], *rows])
    return folder


def run(kaggle, out, *more):
    arguments = [str(kaggle), "--out", str(out), "--mpp", "4", "--tile-size-px", "128"]
    arguments += ["--split", "train=0.5,val=0.5", *more]
    return CliRunner().invoke(prepare_hubmap.main, arguments)


def checksums(folder, skip=()):
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f.name not in skip)
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture(scope="module")
def prepared(kaggle, tmp_path_factory):
    before = checksums(kaggle)
    out = tmp_path_factory.mktemp("root") / "hubmap"
    result = run(kaggle, out)
    assert result.exit_code == 0, result.output
    assert checksums(kaggle) == before
    return out


def entries(out):
    register_folders(str(out.parent))
    return {d: check_dataset(f"{out.name}_{d}") for d in ("train", "val")}


def test_becomes_a_dataset_of_one_class_split_by_patient(prepared):
    found = entries(prepared)
    assert MetadataCatalog.get("hubmap_train").thing_classes == ["glomerulus"]
    patients = {d: {e["patient"] for e in found[d]} for d in found}
    assert sorted(map(sorted, patients.values())) == [["63921"], ["68250"]]
    assert {e["slide"] for d in found.values() for e in d} == set(SLIDES)
    assert {(e["width"], e["height"], e["mpp"]) for d in found.values() for e in d} == {(128, 128, 4.0)}


def test_boxes_and_pixels_are_where_the_glomeruli_are(prepared):
    """Also of the slide with runs only, and in colour of the one with three pages."""
    seen = dict.fromkeys(SLIDES, 0)
    image_root = prepared
    for found in entries(prepared).values():
        for entry in found:
            mpp, _, glomeruli = SLIDES[entry["slide"]]
            content = json.loads((image_root / "annotations_train.json").read_text())["images"]
            content += json.loads((image_root / "annotations_val.json").read_text())["images"]
            name = entry["file_name"][len(str(image_root)) + 1 :]
            origin = next(i["origin"] for i in content if i["file_name"] == name)
            hr, lr = read_view(entry, "hr", 4), read_view(entry, "lr", 4)
            assert hr.shape == (128, 128, 3) and lr.shape == (32, 32, 3)
            smaller = cv2.resize(hr, (32, 32), interpolation=cv2.INTER_AREA)
            assert np.abs(smaller.astype(int) - lr).mean() < 2  # the same tissue, by another filter
            for annotation in entry["annotations"]:
                x, y, w, h = annotation["bbox"]
                if annotation["iscrowd"] or min(x, y) <= 0 or max(x + w, y + h) >= 128:
                    continue  # cut
                seen[entry["slide"]] += 1
                middle = np.array([x + w / 2, y + h / 2])
                base = middle * 4 / mpp + (origin["x_px"], origin["y_px"])
                near = min(glomeruli, key=lambda g: np.hypot(*(base - g[:2])))
                assert np.abs(base - near[:2]).max() < 4 / mpp  # one HR pixel
                assert abs(w - 2 * near[2] * mpp / 4) < 1.5
                np.testing.assert_allclose(hr[tuple(middle.astype(int)[::-1])], PURPLE, atol=3)
    assert min(seen.values()) >= 1


def test_same_bytes_again_and_the_same_boxes_from_regions(kaggle, prepared, tmp_path):
    again = tmp_path / "again" / "hubmap"
    assert run(kaggle, again).exit_code == 0
    pixels = {k: v for k, v in checksums(prepared, ("manifest.json",)).items() if k.startswith("images")}
    assert pixels.items() <= checksums(again).items() and len(pixels) > 4
    regions = tmp_path / "regions" / "hubmap"
    assert run(kaggle, regions, "--tiles", "regions").exit_code == 0
    for split in ("train", "val"):
        files = [d / f"annotations_{split}.json" for d in (prepared, again, regions)]
        contents = [json.loads(f.read_text()) for f in files]
        assert contents[0]["annotations"] == contents[1]["annotations"] == contents[2]["annotations"]
        assert all("region" in image for image in contents[2]["images"])
    assert not (regions / "images").exists()


@pytest.mark.parametrize(
    "harm, message",
    [
        (lambda f: (f / INFORMATION).unlink(), "dataset_information.csv: is missing"),
        (lambda f: (f / INFORMATION).write_text("image_file\n"), "no patient_number or size"),
        (lambda f: (f / "train.csv").unlink(), "aaa6a05cc.tiff: has no JSON file, and there is no"),
        (lambda f: shutil.rmtree(f / "train"), "has no train/\\*.tiff"),
        (lambda f: (f / "train" / "1e2425f28.tiff").write_bytes(b""), "0 bytes"),
        (lambda f: (f / "train" / "1e2425f28.json").write_text("[{"), "1e2425f28.json: is no valid JSON"),
    ],
    ids=["no table", "no patients", "no runs", "no slides", "empty slide", "cut outlines"],
)
def test_what_is_missing_or_damaged_is_one_error_and_no_dataset(kaggle, tmp_path, harm, message):
    copy = tmp_path / "kaggle"
    shutil.copytree(kaggle, copy)
    harm(copy)
    options = {"mpp": 4.0, "tile_size_px": 128, "lr_factor": 4, "overlap_um": 0.0, "keep_empty": 1.0}
    options |= {"split": "train=0.5,val=0.5", "folds": None, "seed": 0, "slide_mpp": None}
    with pytest.raises(InputError, match=message):
        prepare_hubmap.prepare(copy, tmp_path / "out", **options, tiles="regions")
    assert not list((tmp_path / "out").glob("annotations_*.json"))
