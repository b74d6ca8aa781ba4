#!/usr/bin/env python
"""HuBMAP "Hacking the Kidney" (Kaggle: hubmap-kidney-segmentation) as a dataset to train on."""

import csv
import logging
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mhkd.annotations import ClassMap
from mhkd.commands.numbers import ABOVE_0, AT_LEAST_0, FROM_1, FROM_2, SEED, SHARE
from mhkd.commands.slide_options import SLIDE_MPP, with_options
from mhkd.errors import InputError
from mhkd.files import replacing
from mhkd.slides.ome import read_ome
from mhkd.slides.slide import Slide
from mhkd.tiling.layout import Layout
from mhkd.tiling.slide_task import TileOptions
from mhkd.tiling.splits import parse_shares, split_slides
from mhkd.tiling.tile import summary, tile_slides

import click
import pyvips

INFORMATION = "HuBMAP-20-dataset_information.csv"
CLASSES = ClassMap({"": "glomerulus"}, ["glomerulus"])  # runs (train.csv) have no class


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("kaggle_folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", default="datasets/hubmap", show_default=True, help="hubmap_train, hubmap_val.")
@click.option("--mpp", type=ABOVE_0, default=3.0, show_default=True, help="Micrometres per HR pixel.")
@click.option(
    "--tile-size-px", type=FROM_1, default=1024, show_default=True, help="Side of a tile in HR pixels."
)
@click.option("--lr-factor", type=FROM_1, default=4, show_default=True, help="HR pixels per LR pixel.")
@click.option("--overlap-um", type=AT_LEAST_0, default=0.0, show_default=True, help="Of neighbouring tiles.")
@click.option(
    "--keep-empty", type=SHARE, default=1.0, show_default=True, help="Share of tiles with nothing but tissue."
)
@click.option("--split", default="train=0.8,val=0.2", show_default=True, help="Shares of the patients.")
@click.option("--folds", type=FROM_2, help="Instead: fold0_train, fold0_val, fold1_train ...")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the split.")
@with_options(*SLIDE_MPP)
@click.option(
    "--tiles",
    type=click.Choice(["png", "regions"]),
    default="png",
    show_default=True,
    help="HR and LR files, or regions that are read from the TIFFs while training (slower).",
)
@click.option("--workers", type=FROM_1, default=1, show_default=True, help="Processes.")
def main(kaggle_folder: Path, out: str, workers: int, **options: Any) -> None:
    """Make a dataset of KAGGLE_FOLDER, the unpacked "Hacking the Kidney" data:

    \b
      train/<id>.tiff                       PAS slides
      train/<id>.json                       outlines of the glomeruli
      train.csv                             the same as runs, for slides without a JSON file
      HuBMAP-20-dataset_information.csv     patients

    \b
      datasets/prepare_hubmap.py ~/hubmap-kidney-segmentation
      mhkd inspect hubmap
      make train CONFIG=projects/MHKD/configs/HuBMAP/mhkd_R50_FPN.yaml

    One class, glomerulus; tiles of 1024 px (HR) and 256 px (LR) on a grid, without glass; split by
    patient. The paper has 171 tiles of that size and does not say at what resolution: so few can only
    be coarse ones, and at the 3 um per pixel chosen here a glomerulus of 200 um is 67 px wide, 17 px
    on LR. The scans' own resolution (0.5 or 0.65 um) is read from each file. A glomerulus that a
    tile's edge cuts to less than half is neither learned nor counted.

    The Kaggle folder is never changed. Stopped, the same command goes on where it was.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        manifest = prepare(kaggle_folder, Path(out), workers=workers, **options)
    except InputError as e:
        raise click.ClickException(str(e)) from e
    click.echo(summary(manifest, out))


def prepare(
    kaggle_folder: Path,
    out: Path,
    *,
    mpp: float,
    tile_size_px: int,
    lr_factor: int,
    overlap_um: float,
    keep_empty: float,
    split: str,
    folds: int | None,
    seed: int,
    slide_mpp: float | dict[str, float] | None,
    tiles: str,
    workers: int = 1,
    override_slide_mpp: float | dict[str, float] | None = None,
) -> dict[str, Any]:
    """Make the dataset, see ``--help``.

    Returns:
        The manifest.

    Raises:
        InputError: the folder is not of this layout, or a file in it is damaged.
    """
    layout = Layout(
        mpp=mpp,
        tile_size_px=tile_size_px,
        lr_factor=lr_factor,
        overlap_um=overlap_um,
        keep_empty=keep_empty,
        min_tissue_um2=1e4,
        max_hole_um2=1e4,
    )
    originals = sorted((kaggle_folder / "train").glob("*.tiff"))
    if not originals:
        raise InputError(f"{kaggle_folder}: has no train/*.tiff: unpack the Kaggle archive there")
    patient_of = _patients(kaggle_folder / INFORMATION, originals)
    shares = None if folds else parse_shares(split)
    annotations = _annotations(kaggle_folder, originals, out)
    slides = [_with_channels_together(path, out / "slides") for path in originals]
    patients = {str(s): patient_of[o.name] for s, o in zip(slides, originals, strict=True)}
    splits_of = partial(_split, patients=patients, shares=shares, folds=folds, seed=seed)
    options = TileOptions(layout, CLASSES, str(annotations), slide_mpp, tiles=tiles)
    options = replace(options, override_slide_mpp=override_slide_mpp)
    return tile_slides(
        [str(s) for s in slides],
        str(out),
        options,
        splits_of,
        workers=workers,
        strict=True,
        command=sys.argv,
    )


def _split(
    slides: list[str],
    patients: dict[str, str],
    shares: dict[str, float] | None,
    folds: int | None,
    seed: int,
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Patients, and the splits that each slide is in."""
    return patients, split_slides(slides, patients, shares, folds, seed)


def _patients(path: Path, slides: list[Path]) -> dict[str, str]:
    """Patient of every slide, by file name; warns where the table has another size for it."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as f:
            rows = {row["image_file"]: row for row in csv.DictReader(f)}
        patients = {s.name: rows[s.name]["patient_number"] for s in slides}
        for s in slides:
            said = tuple(int(rows[s.name][k]) for k in ("width_pixels", "height_pixels"))
            image = _open(s)
            if said not in ((image.width, image.height), (image.height, image.width)):
                click.echo(f"warning: {s} is {image.width}x{image.height} px, not {said}", err=True)
    except FileNotFoundError as e:
        raise InputError(f"{path}: is missing: the split goes by its patients") from e
    except (KeyError, TypeError, ValueError, OSError) as e:
        raise InputError(f"{path}: has no patient_number or size for every slide ({e})") from e
    return patients


def _annotations(kaggle_folder: Path, slides: list[Path], out: Path) -> Path:
    """Where the outlines are: the JSON files, which win, or train.csv, or copies of both together."""
    runs = kaggle_folder / "train.csv"
    files = [s.with_suffix(".json") for s in slides]
    files = [f for f in files if f.is_file()]
    if len(files) == len(slides):
        return kaggle_folder / "train"
    if not runs.is_file():
        lacking = next(s for s in slides if not s.with_suffix(".json").is_file())
        raise InputError(f"{lacking}: has no JSON file, and there is no {runs}: unpack them too")
    if not files:
        return runs
    together = out / "annotations"
    together.mkdir(parents=True, exist_ok=True)
    for f in [*files, runs]:
        shutil.copyfile(f, together / f.name)
    return together


def _with_channels_together(path: Path, folder: Path) -> Path:
    """Some of the TIFFs keep red, green and blue on pages of their own: those are converted once."""
    image = _open(path)
    if image.bands > 1 or image.get_typeof("n-pages") == 0 or image.get("n-pages") != 3:
        return path
    converted = folder / path.name
    newer = converted.is_file() and converted.stat().st_mtime >= path.stat().st_mtime
    if not newer:
        click.echo(f"{path}: joining its channels", err=True)
        pages = [pyvips.Image.new_from_file(str(path), page=k) for k in range(3)]
        joined = pages[0].bandjoin(pages[1:]).copy(interpretation="srgb")
        mpp = read_ome(image.get("image-description"))[0] or (1000 / image.xres, 1000 / image.yres)
        joined = joined.copy(xres=1000 / mpp[0], yres=1000 / mpp[1])
        with replacing(converted) as temporary:
            joined.tiffsave(
                str(temporary), tile=True, compression="deflate", resunit="cm", bigtiff=True, strip=True
            )
    return converted


def _open(path: Path) -> pyvips.Image:
    try:
        return pyvips.Image.new_from_file(str(path))
    except pyvips.Error as e:
        Slide(str(path)).size_px  # which says it better  # noqa: B018
        raise InputError(f"{path}: cannot be read ({e}): unpack it again") from e


if __name__ == "__main__":
    main()
