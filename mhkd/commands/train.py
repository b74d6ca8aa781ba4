"""``mhkd train`` and ``mhkd eval``, and both as train_net.py with Detectron2's usual arguments."""

from collections.abc import Sequence
from typing import Any

import click

from .numbers import FROM_0, FROM_1
from .slide_options import with_options

CONFIG = (
    click.option("--config-file", required=True, metavar="FILE", help="Config, your own or the project's: "
                 "KidneyROI/mhkd_R18_FPN_cpu.yaml."),
)  # fmt: skip
RESUME = click.option("--resume", is_flag=True,
                      help="Go on where the training in OUTPUT_DIR stopped; settings or data other than its "
                           "own are an error that names them.")  # fmt: skip
PROCESSES = (
    click.option("--num-gpus", type=FROM_1, default=1, show_default=True,
                 help="Processes on this machine; where there is no GPU, on the CPU."),
    click.option("--num-machines", type=FROM_1, default=1, show_default=True),
    click.option("--machine-rank", type=FROM_0, default=0, show_default=True, help="This machine's number."),
    click.option("--dist-url", default="auto", show_default=True,
                 help="tcp://host:port of the first of several machines."),
    click.option("--with", "extensions", multiple=True, type=click.Path(), metavar="FILE.py",
                 help="Python file that registers losses, schedules or a task of your own; may be given more "
                      "than once."),
    click.argument("opts", nargs=-1, type=click.UNPROCESSED, metavar="[KEY VALUE]..."),
)  # fmt: skip
# As in Detectron2, what follows the first KEY is no option any more: MHKD.STAGE -1.
AS_DETECTRON2 = {"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]}


@click.command(context_settings=AS_DETECTRON2)
@with_options(*CONFIG, RESUME, *PROCESSES)
def train(**options: Any) -> None:
    """Train the teacher, then the student step by step, as a config says; [KEY VALUE]... change it.

    \b
    Everything up to step 4, the teacher included; finished steps are skipped:
      mhkd train --config-file KidneyROI/mhkd_R18_FPN_cpu.yaml --resume MHKD.STAGE 4
    A loss of your own and a schedule that has it (see docs/extending.md):
      mhkd train --config-file mine.yaml --with my_losses.py MHKD.SCHEDULE my_schedule.yaml
    Four GPUs (or, where there is no GPU, four CPU processes):
      mhkd train --config-file mine.yaml --num-gpus 4 SOLVER.IMS_PER_BATCH 4
    """
    _run("mhkd", **options)


@click.command("eval", context_settings=AS_DETECTRON2)
@with_options(*CONFIG, *PROCESSES)
def evaluate(**options: Any) -> None:
    """Score what was trained with a config, on its DATASETS.TEST.

    \b
    The student on low resolution, the teacher on high resolution, the teacher fed with upsampled low
    resolution:
      mhkd eval --config-file mine.yaml
      mhkd eval --config-file mine.yaml MHKD.EVAL teacher
      mhkd eval --config-file mine.yaml MHKD.EVAL direct
    What was exported of the student:
      mhkd eval --config-file mine.yaml MODEL.WEIGHTS student.onnx
    """
    _run("mhkd", eval_only=True, **options)


@click.command("train_net.py", context_settings=AS_DETECTRON2)
@with_options(*CONFIG, RESUME)
@click.option("--eval-only", is_flag=True, help="Score what is trained: see MHKD.EVAL.")
@with_options(*PROCESSES)
def train_net(**options: Any) -> None:
    """Train or score a detector for low-resolution slides with multi-step hybrid knowledge distillation.

    Takes Detectron2's usual arguments; `mhkd train` and `mhkd eval` do the same.
    """
    from ..errors import in_one_line
    from ..threads import wait_asleep

    wait_asleep()
    with in_one_line("train_net.py", status=1):
        _run("train_net.py", **options)


def _run(
    program: str, config_file: str, opts: Sequence[str], extensions: Sequence[str],
    resume: bool = False, eval_only: bool = False, **processes: Any,
) -> None:  # fmt: skip
    from ..config_files import find_config
    from ..engine.program import Command, run_program
    from ..extensions import load_extensions

    load_extensions(extensions)
    run_program(Command(find_config(config_file), opts, eval_only, resume, program), **processes)
