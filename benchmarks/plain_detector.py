#!/usr/bin/env python
"""What a user of Detectron2 would do with LR images: enlarge them a little, and train a stock detector.

Writes OUT/DATASET_lr, LR pixels (means over FACTOR x FACTOR of HR's) enlarged to SCALE times the size of HR,
trains the detector there (crop and anchors are SCALE times as large), scores it, and writes OUT/result.json,
which benchmarks/cost_curve.py draws. SCALE decides what the detector costs: FLOPs go with its square. OPTIONS
are KEY VALUE of the config. Stopped, it goes on where it was.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mhkd
from mhkd.coco.read import read_coco
from mhkd.commands.numbers import FROM_1
from mhkd.comparison.measure import count_flops
from mhkd.comparison.scores import score
from mhkd.data.dataset_files import dataset_files
from mhkd.data.registrar import ensure_registered
from mhkd.evaluation.bootstrap import FEW, bootstrap_ap, groups_of, interval
from mhkd.evaluation.evaluator import coco_dict
from mhkd.evaluation.pooled import pooled_of_coco
from mhkd.files import make_folder, write_json
from mhkd.slides.block_mean import block_mean

import click
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image
from tqdm import tqdm


def write_image(hr: Path, path: Path, factor: int, scale: float) -> dict[str, Any]:
    """An image of LR pixels, enlarged; HR pixels beside the last whole LR pixel are cut off."""
    with Image.open(hr) as image:
        width, height = (n // factor for n in image.size)
        pixels = np.asarray(image.convert("RGB"))[: height * factor, : width * factor]
    size = round(width * factor * scale), round(height * factor * scale)
    if not path.exists():
        make_folder(path.parent)
        lr = Image.fromarray(block_mean(np.ascontiguousarray(pixels), (width, height)))
        lr.resize(size, Image.Resampling.BILINEAR).save(path)
    return {"file_name": str(path), "width": size[0], "height": size[1]}


def scaled(annotation: dict[str, Any], scale: float) -> dict[str, Any]:
    """Its box and area in the smaller image; outlines are left out."""
    box = [v * scale for v in annotation["bbox"]]
    kept = {k: v for k, v in annotation.items() if k != "segmentation"}
    return kept | {"bbox": box, "area": box[2] * box[3]}


def write_dataset(dataset: str, out: Path, factor: int, scale: float) -> str:
    """Its name."""
    folder = out / f"{dataset}_lr"
    for source in dataset_files(dataset).values():
        content, root = read_coco(source), Path(source).parent
        for image in tqdm(content["images"], desc=Path(source).name, unit="image"):
            path = (folder / image["file_name"]).with_suffix(".png")
            image |= write_image(root / image["file_name"], path, factor, scale)
            image["file_name"] = str(path.relative_to(folder))
        content["annotations"] = [scaled(a, scale) for a in content["annotations"]]
        write_json(content, folder / Path(source).name)
    return folder.name


def scaled_options(cfg: CfgNode, dataset: str, scale: float) -> list[Any]:
    """Overrides of the config: that data, crop and anchors of that scale."""

    def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.replace(dataset, f"{dataset}_lr", 1) for name in names)

    return [
        "DATASETS.TRAIN", renamed(cfg.DATASETS.TRAIN), "DATASETS.TEST", renamed(cfg.DATASETS.TEST),
        "INPUT.CROP.SIZE", [round(side * scale) for side in cfg.INPUT.CROP.SIZE],
        "MODEL.ANCHOR_GENERATOR.SIZES",
        [[round(size * scale, 1) for size in level] for level in cfg.MODEL.ANCHOR_GENERATOR.SIZES],
    ]  # fmt: skip


def result(cfg: CfgNode, run: Path, samples: int) -> dict[str, Any]:
    """AP and its interval over the test set's slides, FLOPs of its first image."""
    (test_set,) = cfg.DATASETS.TEST
    entries, metadata = list(DatasetCatalog.get(test_set)), MetadataCatalog.get(test_set)
    results = run / "inference" / "direct" / test_set / "coco_instances_results.json"
    found = json.loads(results.read_text())
    limit = cfg.TEST.DETECTIONS_PER_IMAGE
    matches = pooled_of_coco(coco_dict(entries, metadata), found, limit)
    groups = groups_of(entries, fewest_patients=FEW)
    first = entries[0]
    pixels = torch.zeros(3, first["height"], first["width"], dtype=torch.uint8)
    image = {"image": pixels, "height": first["height"], "width": first["width"]}
    return {
        "scores": score(entries, metadata, found, limit),
        "AP_interval": interval(bootstrap_ap({"": [matches]}, groups.of, samples)[""]),
        "interval_by": groups.by,
        "flops": count_flops(build_model(cfg).teacher, image),
        "iterations": cfg.MHKD.TEACHER_ITERS,
    }


@click.command(help=__doc__)
@click.option("--dataset", default="kidney_roi", show_default=True)
@click.option("--config-file", required=True, type=click.Path(exists=True), help="A direct/*.yaml of it.")
@click.option("--factor", type=FROM_1, default=4, show_default=True)
@click.option("--scale", type=click.FloatRange(0.05, 1), required=True, help="Of HR's size.")
@click.option("--samples", type=FROM_1, default=1000, show_default=True, help="Of the bootstrap.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.argument("options", nargs=-1)
def main(
    dataset: str,
    config_file: str,
    factor: int,
    scale: float,
    samples: int,
    out: Path,
    options: tuple[str, ...],
) -> None:
    out = out.absolute()
    write_dataset(dataset, out, factor, scale)
    os.environ["DETECTRON2_DATASETS"] = str(out)
    cfg = mhkd.load_cfg(config_file)
    all_options = [*scaled_options(cfg, dataset, scale), *options]
    words = [str(word) for word in ("--config-file", config_file, *all_options, "OUTPUT_DIR", out / "run")]
    subprocess.run([sys.executable, "-m", "mhkd", "train", "--resume", *words], check=True)
    cfg.merge_from_list(all_options)
    ensure_registered(cfg.DATASETS.TEST)
    found = result(cfg, out / "run", samples)
    facts = {"config": Path(config_file).stem, "factor": factor, "scale": scale}
    write_json(facts | found, out / "result.json")
    click.echo(f"AP {found['scores']['AP']:.1f}, {found['flops'] / 1e9:.1f} GFLOPs: {out / 'result.json'}")


if __name__ == "__main__":
    main()
