"""``mhkd next``."""

from pathlib import Path

import click

from ..terminal import legible, say
from .numbers import ABOVE_0, FROM_1, SHARE

COLUMNS = ("rank", "slide", "unsure", "weight", "x_px", "y_px", "width_px", "height_px", "x_um", "y_um")


@click.command("next")
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option(
    "--fields", "count", type=FROM_1, default=20, show_default=True, help="How many, of all slides together."
)
@click.option("--field-um", type=ABOVE_0, default=1000.0, show_default=True, help="Side of a field.")
@click.option(
    "--score-threshold",
    type=SHARE,
    help="The student is least sure at this score.  [default: what mhkd detect counted from]",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="The table.  [default: OUT_DIR/next.csv]"
)
def next_(
    out_dir: Path, count: int, field_um: float, score_threshold: float | None, out: Path | None
) -> None:
    """Which slides and fields to correct next: where the student is least sure.

    A detection weighs 1 where its score is the working threshold, 0 from 0.25 away from it on, and between
    in proportion; what you have corrected in `mhkd view` weighs nothing. Fields are listed by slide, the
    slide that weighs most first, with their corner and size in base pixels of the slide. In `mhkd view` the
    key F goes from one to the next.
    """
    from tabulate import tabulate

    from ..corrections.fields import next_fields
    from ..files import write_text
    from ..slide_detection.finished import find_finished
    from ..tables import csv_text

    finished, _, damaged = find_finished(out_dir)
    for reason in damaged.values():
        say(f"left out: {reason}", err=True)
    slides = next_fields(finished, count, field_um, score_threshold)
    rows: list[list[object]] = []
    for one in slides:
        x_mpp, y_mpp = one.slide.run["mpp_xy"]
        for f in one.fields:
            x0, y0, x1, y1 = f.box_px
            place = (x0, y0, x1 - x0, y1 - y0, x0 * x_mpp, y0 * y_mpp)
            rows.append(
                [len(rows) + 1, one.slide.name, f.unsure, round(f.weight, 3), *(round(v, 1) for v in place)]
            )
    out = out or out_dir / "next.csv"
    write_text(csv_text(COLUMNS, rows), out)
    say(
        tabulate(
            [[legible(s.slide.name), s.unsure, s.weight] for s in slides],
            ("slide", "unsure", "weight"),
            floatfmt=".2f",
        )
    )
    say()
    say(tabulate([[row[0], legible(str(row[1])), *row[2:8]] for row in rows], COLUMNS[:8]))
    say(f"\n{len(rows)} fields in {out}")
