"""``mhkd pair``."""

import sys
from functools import partial
from typing import Any

import click

from ..terminal import say
from .numbers import ABOVE_0, AT_LEAST_0, FROM_1, SHARE
from .slide_options import CLASSES, SPLITS, WITHIN, SlideMpp, with_options

MPPS = tuple(
    click.option(f"--{word}{of}-mpp", type=SlideMpp(), help=help_.format(of.upper()))
    for of in ("hr", "lr")
    for word, help_ in (
        ("", "Micrometres per base pixel of {} slides that do not record it; or a table: slide,mpp."),
        ("override-", "The same, in place of what {} slides record. Only where that is known to be wrong."),
    )
)


@click.command()
@click.argument("hr", type=click.Path(exists=True))
@click.argument("lr", type=click.Path(exists=True))
@click.option(
    "--out", type=click.Path(file_okay=False), required=True, help="datasets/NAME: NAME_train, NAME_val ..."
)
@click.option(
    "--lr-factor",
    type=FROM_1,
    help="HR pixels per LR pixel.  [default: the nearest to what the slides record]",
)
@click.option(
    "--tile-size-px", type=FROM_1,
    help="Side of a tile in HR pixels, a multiple of the factor.  [default: 1024, or just below]",
)  # fmt: skip
@click.option(
    "--overlap-um", type=AT_LEAST_0, default=0.0, show_default=True, help="Of tiles; a glomerulus is 200."
)
@click.option(
    "--max-error-um", type=ABOVE_0, help="Tiles that are further off are left out.  [default: one LR pixel]"
)
@click.option(
    "--min-visible", type=SHARE, default=0.5, show_default=True,
    help="A glomerulus cut to less than this is ignored.",
)  # fmt: skip
@click.option("--keep-empty", type=SHARE, default=1.0, show_default=True, help="Share of empty tiles kept.")
@click.option(
    "--tissue-only/--glass-too", default=True, show_default=True,
    help="Leave out empty tiles of glass, or not, where tissue is taken for it.",
)  # fmt: skip
@with_options(*CLASSES)
@click.option(
    "--classes", help="The dataset's classes in order, A,B; others are left out.  [default: what there is]"
)
@with_options(*WITHIN, *SPLITS)
@click.option(
    "--annotations", type=click.Path(exists=True),
    help="Folder, or one file, of the HR slides' annotations, of any tool; default: beside each HR slide.",
)  # fmt: skip
@click.option("--no-annotations", is_flag=True, help="Of slides that nobody annotated, for MHKD.UNLABELED.")
@with_options(*MPPS)
@click.option("--point-diameter-um", type=ABOVE_0, help="Points become circles of this size.")
@click.option("--strict", is_flag=True, help="Stop at a pair that cannot be used, instead of leaving it out.")
def pair(
    hr: str, lr: str, out: str, pairs: Any, class_map: str | None, classes: str | None, strict: bool,
    no_annotations: bool, **options: Any,
) -> None:  # fmt: skip
    """Make a dataset of slides that were scanned twice, by a good scanner (HR) and by a cheap one (LR).

    \b
      mhkd pair case_01_fine.svs case_01_cheap.tiff --out datasets/twice
      mhkd pair fine/ cheap/ --out datasets/twice --annotations annotations/ --overlap-um 200

    In folders both scans of a slide have the same name. The scans may be shifted, turned by any angle,
    mirrored, stretched and of other colours. LR pixels stay as they are; the HR slide and its annotations are
    brought to them. Each tile's error is measured where the scans were not fitted to each other, and written
    to the dataset and OUT/pairs.csv; a tile that is too far off, or cannot be checked, is left out and
    counted. Look at OUT/checks/*.png: both scans as a chessboard. Scans of different tissue are an error.

    Stopped, or run again with more slides, it does only what is missing. A pair that cannot be used is left
    out, and the exit status is 1.
    """
    from ..annotations import ClassMap
    from ..pairing.pair import make_pairs, pairs_of
    from ..pairing.pair_tiles import PairOptions
    from ..tiling.splits import DEFAULT_SHARES, assign_splits
    from ..tiling.tile import summary

    found, alone = pairs_of(hr, lr)
    shares, folds, table, pattern, seed = (
        options.pop(k) for k in ("split", "folds", "split_csv", "patient_pattern", "seed")
    )
    splits_of = partial(
        assign_splits, shares=shares, folds=folds, table=table, pattern=pattern, seed=seed,
        default="train=1" if no_annotations or len(found) == 1 else DEFAULT_SHARES,
    )  # fmt: skip
    names = None if classes is None else [c.strip() for c in classes.split(",")]
    mpps = {k: options.pop(k) for k in ("hr_mpp", "override_hr_mpp", "lr_mpp", "override_lr_mpp")}
    within = tuple(options.pop("within"))
    made = PairOptions(
        ClassMap.parse(pairs, class_map, names), annotated=not no_annotations, within=within, **options
    )
    manifest = make_pairs(found, out, made, splits_of, mpps=mpps, strict=strict, command=sys.argv)
    say("\n".join([summary(manifest, out), *alone]))
    sys.exit(1 if manifest["skipped"] or alone else 0)
