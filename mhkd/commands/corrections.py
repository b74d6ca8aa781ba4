"""``mhkd corrections``."""

from pathlib import Path

import click

from ..terminal import legible, say
from .numbers import SHARE


@click.command()
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of annotations."
)
@click.option(
    "--score-threshold",
    type=SHARE,
    help="What nobody corrected counts from this score on.  [default: what mhkd detect counted from]",
)
@click.option("--all", "also_uncorrected", is_flag=True, help="Also slides of which nobody said anything.")
@click.option("--overwrite", is_flag=True, help="Files of other content that are in the folder already.")
def corrections(
    out_dir: Path, out: Path, score_threshold: float | None, also_uncorrected: bool, overwrite: bool
) -> None:
    """Write what `mhkd detect` found and you corrected in `mhkd view` as annotations to train on.

    Each slide that was corrected gets OUT/<its file name>.geojson: what was found, from the working threshold
    on, with your classes; without what you rejected; with what you accepted or drew, whatever its score.
    QuPath opens the file, and `mhkd tile slides/ --annotations OUT` makes a dataset of it:

    \b
      mhkd corrections output/found --out annotations/corrected
      mhkd tile slides/ --annotations annotations/corrected --out datasets/mine2 --mpp 0.5
    """
    from ..corrections.export import write_corrected
    from ..slide_detection.finished import find_finished

    finished, unfinished, damaged = find_finished(out_dir)
    for reason in damaged.values():
        say(f"left out: {reason}", err=True)
    files, left_out = write_corrected(
        finished, out, score_threshold, also_uncorrected=also_uncorrected, overwrite=overwrite
    )
    say(f"{len(files)} slides in {out}")
    if left_out:
        say(f"not corrected, so left out: {', '.join(map(legible, left_out))}")
    if unfinished:
        say(f"not finished, so left out: {', '.join(map(legible, unfinished))}")
