"""Options of the commands that make datasets of slides."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from .numbers import ABOVE_0, FROM_1, FROM_2, SEED

Function = TypeVar("Function", bound=Callable[..., Any])


class SlideMpp(click.ParamType):
    """A resolution for all slides, or a table of them."""

    name = "NUMBER|CSV"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from ..slides.slide_table import parse_mpp

        return parse_mpp(value, param.opts[0] if param else self.name)


SLIDE_MPP = (
    click.option("--slide-mpp", type=SlideMpp(),
                 help="Micrometres per base pixel of slides that do not record it; or a table: slide,mpp."),
    click.option("--override-slide-mpp", type=SlideMpp(),
                 help="The same, in place of what slides record. Only where that is known to be wrong."),
)  # fmt: skip
CLASSES = (
    click.option("--class", "pairs", multiple=True, metavar="FROM=TO",
                 help="Rename or merge; FROM= drops; '*' is all others, '' what has none."),
    click.option("--class-map", type=click.Path(), help="YAML file of FROM: TO."),
)  # fmt: skip
WITHIN = (
    click.option("--within", multiple=True, metavar="CLASS",
                 help="Only outlines of this class, as the file calls it, are annotated within: what lies "
                      "outside is neither learned nor scored; can be given for several classes."),
)  # fmt: skip
SPLITS = (
    click.option("--split", help="Shares of the patients (slides).  [default: train=0.8,val=0.2]"),
    click.option("--folds", type=FROM_2,
                 help="Instead: fold0_train, fold0_val, fold1_train ..."),
    click.option("--split-csv", type=click.Path(),
                 help="Table with the columns slide, and patient or split or both."),
    click.option("--patient-pattern",
                 help="Regular expression with (?P<patient>...) for the slides' file names."),
    click.option("--seed", type=SEED, default=0, show_default=True, help="Of the shares and folds."),
)  # fmt: skip
READING = (
    click.option("--annotations", type=click.Path(exists=True),
                 help="Folder, or one file, of QuPath, ImageScope, HALO, ASAP, NDP.view, the Digital Slide "
                      "Archive, LabelMe, YOLO, COCO, HuBMAP, or label masks; default: beside each slide."),
    *SLIDE_MPP,
    click.option("--point-diameter-um", type=ABOVE_0, help="Points become circles of this size."),
)  # fmt: skip
RUNNING = (
    click.option("--workers", type=FROM_1, default=1, show_default=True, help="Processes."),
    click.option("--strict", is_flag=True,
                 help="Stop at a slide that cannot be read, instead of leaving it out."),
)  # fmt: skip


def with_options(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Decorator: adds click options, in this order."""

    def decorate(command: Function) -> Function:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
