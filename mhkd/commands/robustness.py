"""``mhkd robustness``."""

import math
import shlex
import sys
from pathlib import Path

import click

from ..terminal import say

_STRENGTHS = (
    ("--blur", "0,0.5,1,1.5,2", "Standard deviations of a Gaussian, LR pixels."),
    ("--noise", "0,4,8,16,24", "Standard deviations of Gaussian noise, grey levels of 255."),
    ("--jpeg", "0,90,70,50,30,10", "JPEG qualities, 1 to 100; 0: not compressed."),
    (
        "--mpp",
        "-20,-10,0,10,20",
        "By how many percent a pixel of the slide covers more than its mpp says.",
    ),
)


def _numbers(ctx: click.Context, param: click.Parameter, text: str) -> list[float]:
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise click.BadParameter(f"{param.opts[0]} {text!r}: give numbers with commas between")
    return found


@click.command()
@click.argument("students", nargs=-1, required=True, metavar="[NAME=]STUDENT...")
@click.option("--dataset", required=True, help="Scored on this, e.g. mine_val or kidney_roi_val@glomerulus.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default="output/robustness", show_default=True
)
@click.option("--device", default="", help="cpu, cuda, ...  [default: CUDA if there is one]")
def robustness(
    students: tuple[str, ...], dataset: str, out: Path, device: str, **strengths: list[float]
) -> None:
    """Draw AP of exported students against blur, noise, JPEG and a wrong resolution, one at a time.

    \b
      mhkd robustness "LR alone=output/none/student" "distilled=output/features/student" \\
        --dataset mine_val --out output/robustness

    A STUDENT is the folder of an exported student; NAME, by default the folder, is its line's. LR is made
    from HR; blur, noise and JPEG are INPUT.SCANNER's, in that order of a scanner, the noise of an image
    always the same. With --mpp 20 an LR pixel covers 20 % more tissue than the student was trained for, as
    where a laboratory's slide records a resolution that is wrong. 0 is what mhkd eval scores.

    OUT has robustness.png, .md, .csv and .json. Stopped, it goes on where it was; what is scored is not
    scored again.
    """
    from ..comparison.robustness import run_robustness

    named = {}
    for text in students:
        name, equals, folder = text.partition("=")
        folder = folder if equals else name
        if name in named:
            raise click.BadParameter(f"{name}: is there twice: name students, as in a={folder} b={folder}")
        named[name] = Path(folder)
    command = shlex.join(["mhkd", *sys.argv[1:]])
    paths = run_robustness(named, dataset, out, strengths, device, command)
    say("\n" + paths[0].read_text(encoding="utf-8"))
    for path in paths:
        say(path)


for _name, _default, _text in reversed(_STRENGTHS):
    _option = click.option(
        _name, default=_default, show_default=True, metavar="0,1,...", callback=_numbers, help=_text
    )
    robustness = _option(robustness)
