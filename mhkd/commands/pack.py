"""``mhkd pack``."""

from pathlib import Path

import click

from ..terminal import say
from .paths import EXISTING, PATH


@click.command()
@click.argument("student", type=EXISTING)
@click.option("--out", type=PATH, help="The file, which ends in .mhkd.")
@click.option("--show", is_flag=True, help="Instead: print the card of STUDENT, a packed one.")
@click.option("--name", help="What it is called.")
@click.option("--stain", help="Of the slides that it was trained on: H&E, PAS, ...")
@click.option(
    "--data", help="Of what it was trained on.  [default: the names of the datasets, where it knows them]"
)
@click.option(
    "--scores",
    type=EXISTING,
    help="scores.json of mhkd score, or of a classifier's inference/student/<dataset>/, with intervals.  "
    "[default: those of the run without intervals, where the student lies in its folder]",
)
@click.option("--licence", help="Under which others may use it.")
@click.option("--not-for", help="What it must not be used for.")
@click.option(
    "--card",
    type=EXISTING,
    help="YAML file with these and other fields (not_for: ...); options go before it.",
)
def pack(
    student: Path, out: Path | None, show: bool, card: Path | None, scores: Path | None, **given: str | None
) -> None:
    """Put a student and a card that describes it into one file, to hand on.

    \b
      mhkd pack output/mine/student --out glomeruli.mhkd --stain PAS --licence CC-BY-4.0 \\
        --not-for "diagnosis" --scores output/found/scores/scores.json
      mhkd pack glomeruli.mhkd --show
      mhkd detect slides/ --student glomeruli.mhkd --out output/found

    STUDENT is the folder of an exported student or its .onnx file; a threshold that was chosen goes with it.
    Classes, resolution, threshold and the weights' checksum on the card are the student's own.

    The file is a zip. Nothing in one from a stranger is executed, and one that is damaged, or holds anything
    else, is refused.
    """
    import yaml

    from ..packed_student import read_card

    if show:
        if out or card or scores or any(given.values()):
            raise click.UsageError("--show prints a card, and goes with no other option.")
        say(yaml.safe_dump(read_card(student), sort_keys=False, allow_unicode=True, width=100).rstrip())
        return
    if out is None:
        raise click.UsageError("give --out, the file to write, or --show.")
    from ..packing import FROM_PEOPLE, pack_student

    written = pack_student(student, out, given, card, scores)
    missing = [field for field in FROM_PEOPLE if not written.get(field)]
    if missing:
        say(f"the card says nothing of: {', '.join(missing)}", err=True)
    say(out)
