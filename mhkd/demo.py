"""``mhkd demo``: the whole method on drawn slides, small enough for two CPU cores."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .config import load_cfg
from .config_files import find_config
from .engine.run import run_training
from .engine.unread import merge_options
from .evaluation.report import collect, markdown
from .files import write_json, write_text
from .synthetic import make_slides
from .tiling.collect import slides_to_coco, split_by_slide, write_coco
from .visualization.curves import plot_stage_ap
from .visualization.predict import draw_curves, overlay_dataset

CONFIG = "Demo/mhkd_R18_FPN_cpu.yaml"
SLIDES = {"train": 8, "val": 3}
SLIDE_SIZE_PX, NUM_GLOMERULI = 3072, (55, 65)
CLASSES = ["normal", "sclerotic"]
HR_MPP, LR_FACTOR, TILE_SIZE_PX = 4.0, 6, 384


def run_demo(out: Path, seed: int = 0, options: Sequence[Any] = ()) -> dict[str, Any]:
    """Draw slides, train teacher and student, score and draw what they find.

    Finished parts are kept, so that a demo that was stopped goes on.

    Args:
        out: folder for everything: ``results.json``, ``results.md``, ``curves.png``, ``overlays/``.
        seed: of slides and training.
        options: config overrides, KEY VALUE ...

    Returns:
        The content of ``results.json``: see :func:`mhkd.evaluation.report.collect`.
    """
    os.environ["DETECTRON2_DATASETS"] = str(out / "data")
    _heading(f"1/4 Slides: {sum(SLIDES.values())} of {SLIDE_SIZE_PX} px at 1 um/px, in {out}/slides")
    make_dataset(out, seed)
    _heading("2/4 The teacher on HR, then the student's four steps on LR")
    train(out / "mhkd", "mhkd", seed, options)
    _heading("3/4 For comparison: the same student trained on LR alone, for as many iterations")
    train(out / "lr_only", "none", seed, options)
    _heading("4/4 Table and pictures")
    results = collect(out / "mhkd", out / "lr_only")
    write_json(results, out / "results.json")
    write_text(markdown(results), out / "results.md")
    draw_curves({"mhkd": out / "mhkd", "lr_only": out / "lr_only"}, out / "curves.png")
    plot_stage_ap(results, out / "stages.png")
    overlay_dataset(out / "mhkd/student", "demo_val", out / "overlays", limit=8, device="cpu")
    click.echo("\n" + markdown(results))
    click.echo(f"Pictures: {out}/overlays/*.png, {out}/curves.png, {out}/stages.png")
    return results


def make_dataset(out: Path, seed: int) -> None:
    """Slides in ``out/slides``, the dataset "demo" (tiles that are read from them) in ``out/data``."""
    paths = make_slides(
        out / "slides",
        sum(SLIDES.values()),
        seed=seed,
        size_px=SLIDE_SIZE_PX,
        num_glomeruli=NUM_GLOMERULI,
        workers=os.cpu_count() or 1,
    )
    for split, slides in split_by_slide([str(p) for p in paths], SLIDES, seed).items():
        content = slides_to_coco(
            slides, mpp=HR_MPP, lr_factor=LR_FACTOR, tile_size_px=TILE_SIZE_PX, classes=CLASSES
        )
        click.echo(
            f"demo_{split}: {len(slides)} slides, {len(content['images'])} tiles, "
            f"{len(content['annotations'])} annotated glomeruli"
        )
        write_coco(content, str(out / "data" / "demo" / f"annotations_{split}.json"))


def train(output_dir: Path, schedule: str, seed: int, options: Sequence[Any] = ()) -> None:
    """Train ``schedule`` with the demo's config."""
    cfg = load_cfg(find_config(CONFIG))
    own = ["OUTPUT_DIR", str(output_dir), "MHKD.SCHEDULE", schedule, "SEED", seed]
    merge_options(cfg, [*options, *own], CONFIG)
    run_training(cfg)


def _heading(text: str) -> None:
    click.secho(f"\n=== {text}", bold=True)
