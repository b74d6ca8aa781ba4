"""``mhkd export``."""

import os
import tempfile
from pathlib import Path

import click

from ..terminal import say
from .paths import EXISTING, PATH


@click.command()
@click.argument("student", type=EXISTING)
@click.option(
    "--out", type=PATH, required=True, help="Folder for model_final.pth and config.yaml; or the .onnx file."
)
@click.option("--network", type=click.Choice(["student", "teacher"]), default="student", show_default=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["folder", "onnx"]),
    default="folder",
    show_default=True,
    help="onnx: one file, which mhkd detect runs on a machine without torch and Detectron2.",
)
@click.option(
    "--int8",
    is_flag=True,
    help="With --format onnx: most weights and features have 8 bits, for speed and a smaller file.",
)
@click.option(
    "--calibrate-on",
    multiple=True,
    metavar="DATASET|SLIDES",
    help="With --format onnx: what int8 is calibrated on, and PyTorch compared on: a dataset's name, a "
    "slide, a folder of slides; up to 16 tiles in all. May be repeated.  [default: 5 tiles of a drawn slide, "
    "not for int8]",
)
def export(
    student: Path, out: Path, network: str, form: str, int8: bool, calibrate_on: tuple[str, ...]
) -> None:
    """Take the student (or the teacher) out of any training checkpoint, or make an .onnx file of it.

    \b
      mhkd export output/mine/2_local/model_final.pth --out student
      mhkd export output/mine/student --format onnx --out student.onnx
      mhkd export output/mine/student --format onnx --int8 --calibrate-on slides/ --out student.onnx

    STUDENT is a training checkpoint or, for --format onnx, also the folder of an exported student,
    packed or not.

    The .onnx file takes LR pixels of any size, and holds classes, resolution and the chosen score threshold.
    It is written if it gives what PyTorch gives: of 1000 boxes 999 within 1 px, with scores within 0.001
    and, where there are masks, with outlines of an IoU of 0.99 or within 1 px. An int8 one is less alike;
    how much is said.
    """
    from ..engine.exported import export_checkpoint

    if form == "folder":
        if int8 or calibrate_on:
            raise click.UsageError("--int8 and --calibrate-on go with --format onnx.")
        say(export_checkpoint(student, out, network))
        return
    if network == "teacher":
        raise click.UsageError("--network teacher: takes HR, and only a student is exported to ONNX.")
    from ..onnx_export import export_onnx
    from ..packed_student import unpacked

    with tempfile.TemporaryDirectory() as folder, unpacked(student) as source:
        if not os.path.isdir(source):
            export_checkpoint(source, folder, network)
            source = folder
        for line in export_onnx(source, out, calibrate_on, int8):
            say(line)
    say(out)
