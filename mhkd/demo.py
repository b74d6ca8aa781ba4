"""``mhkd demo``: the whole method on drawn slides, small enough for two CPU cores."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from .config import load_cfg
from .config_files import find_config
from .engine.resume import TEACHER_WEIGHTS
from .engine.run import run_training
from .engine.unread import merge_options
from .evaluation.report import collect, markdown
from .files import write_json, write_text
from .schedules import SCHEDULES
from .synthetic import make_slides
from .terminal import say
from .tiling.collect import slides_to_coco, split_by_slide, write_coco
from .visualization.curves import plot_stage_ap
from .visualization.predict import draw_curves, overlay_dataset

SLIDES = {"train": 8, "val": 3}
SLIDE_SIZE_PX, NUM_GLOMERULI = 3072, (55, 65)
CLASSES = ["normal", "sclerotic"]
HR_MPP, LR_FACTOR, TILE_SIZE_PX = 4.0, 6, 384


class Story(NamedTuple):
    """What is compared: a schedule that teaches, and the same student on LR alone from the same start."""

    taught: str
    alone: str
    words: str
    config: str


STORIES = {
    "recommended": Story(
        "features_falling",
        "none_from_teacher",
        "a small student that it teaches, features_falling",
        "Demo/native_half_R18_FPN_cpu.yaml",
    ),
    "paper": Story("mhkd", "none", "the student's four steps, from scratch", "Demo/mhkd_R18_FPN_cpu.yaml"),
}


def run_demo(
    out: Path, seed: int = 0, options: Sequence[Any] = (), steps: str = "recommended"
) -> dict[str, Any]:
    """Draw slides, train teacher and student, score and draw what they find.

    Finished parts are kept, so that a demo that was stopped goes on.

    Args:
        out: folder for everything: ``results.json``, ``results.md``, ``curves.png``, ``overlays/``. Of the
            paper's steps, ``paper/`` in it, over the same slides.
        seed: of slides and training.
        options: config overrides, KEY VALUE ...
        steps: a key of :data:`STORIES`.

    Returns:
        The content of ``results.json``: see :func:`mhkd.evaluation.report.collect`.
    """
    os.environ["DETECTRON2_DATASETS"] = str(out / "data")
    _heading(f"1/4 Slides: {sum(SLIDES.values())} of {SLIDE_SIZE_PX} px at 1 um/px, in {out}/slides")
    make_dataset(out, seed)
    story, out = STORIES[steps], out if steps == "recommended" else out / steps
    taught, alone = out / story.taught, out / story.alone
    _heading(f"2/4 The teacher on HR, then {story.words}, on LR")
    train(story.config, taught, story.taught, seed, options)
    _heading("3/4 For comparison: the same student trained on LR alone, for as many iterations")
    given = taught / TEACHER_WEIGHTS if SCHEDULES[story.alone].uses_teacher else ""
    train(story.config, alone, story.alone, seed, [*options, "MODEL.TEACHER.WEIGHTS", str(given)])
    _heading("4/4 Table and pictures")
    results = collect(taught, alone)
    write_json(results, out / "results.json")
    write_text(markdown(results), out / "results.md")
    draw_curves({story.taught: taught, "LR alone": alone}, out / "curves.png")
    plot_stage_ap(results, out / "stages.png")
    overlay_dataset(taught / "student", "demo_val", out / "overlays", limit=8, device="cpu")
    say("\n" + markdown(results))
    say(f"{gain(results):+.1f} AP for what the teacher adds to LR alone, in one seed on few images")
    say(f"Pictures: {out}/overlays/*.png, {out}/curves.png, {out}/stages.png")
    return results


def gain(results: dict[str, Any]) -> float:
    """AP of the student after its last step less that of the student on LR alone."""
    last = [row for key, row in results.items() if key.startswith("stage")][-1]
    return last["AP"] - results["lr_only"]["AP"]


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
        say(
            f"demo_{split}: {len(slides)} slides, {len(content['images'])} tiles, "
            f"{len(content['annotations'])} annotated glomeruli"
        )
        write_coco(content, str(out / "data" / "demo" / f"annotations_{split}.json"))


def train(config: str, output_dir: Path, schedule: str, seed: int, options: Sequence[Any] = ()) -> None:
    """Train ``schedule`` with one of the demo's configs."""
    cfg = load_cfg(find_config(config))
    own = ["OUTPUT_DIR", str(output_dir), "MHKD.SCHEDULE", schedule, "SEED", seed]
    merge_options(cfg, [*options, *own], config)
    run_training(cfg)


def _heading(text: str) -> None:
    click.secho(f"\n=== {text}", bold=True)
