#!/usr/bin/env python
"""Time and peak memory of each training step over a floor, in one run.

Floor: the teacher's backbone without a graph (where the step uses a teacher), then the student's ordinary
training forward and backward, BFA included where the step has it on. Whatever a step costs above that is
distillation itself. The optimizer is in neither. Step and floor take turns, so that both see the same
machine; each figure is the median of the rounds.
"""

import ctypes
import json
import platform
import statistics
import time
from pathlib import Path

import mhkd
from mhkd.commands.numbers import FROM_1
from mhkd.schedules import SCHEDULES

import click
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

CONFIG = Path(__file__).parents[1] / "projects/MHKD/configs/KidneyROI/mhkd_R18_FPN_cpu.yaml"


def make_batch(size_px: int, device: str, input_factor: int) -> list[dict]:
    """One image; LR as a student takes it that sees one pixel of ``input_factor`` HR pixels."""
    instances = Instances((size_px, size_px))
    x = torch.arange(8, size_px - 80, 96).float()
    left_top = torch.cartesian_prod(x, x)
    instances.gt_boxes = Boxes(torch.cat([left_top, left_top + 65], 1))
    instances.gt_classes = torch.zeros(len(left_top), dtype=torch.long)
    hr, lr = (
        torch.randint(0, 256, (3, size_px // f, size_px // f), dtype=torch.uint8).to(device)
        for f in (1, input_factor)
    )
    return [{"image": hr, "image_lr": lr, "instances": instances}]


class Meter:
    """Seconds and peak memory (MiB above what was there before) of a call.

    On a CPU the seconds are the process's own, which other programs on the machine disturb little.
    """

    def __init__(self, device: str):
        self.cuda = device != "cpu"
        self.seconds, self.mib = [], []

    def __call__(self, function) -> None:
        before = self._reset()
        clock = time.perf_counter if self.cuda else time.process_time
        start = clock()
        function()
        if self.cuda:
            torch.cuda.synchronize()
        self.seconds.append(clock() - start)
        self.mib.append((self._peak() - before) / 2**20)

    def _reset(self) -> int:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # Linux: give back what was freed, ...
        Path("/proc/self/clear_refs").write_text("5")  # ... then reset the peak of the resident size
        return self._peak()

    def _peak(self) -> int:
        if self.cuda:
            return torch.cuda.max_memory_allocated()
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


@click.command(help=__doc__)
@click.option("--config", default=str(CONFIG), show_default=False)
@click.option("--schedule", default="mhkd", show_default=True)
@click.option("--student-input", type=click.Choice(["upsampled", "native"]), multiple=True,
              default=("upsampled", "native"))  # fmt: skip
@click.option("--size-px", type=click.IntRange(96), default=256, show_default=True)
@click.option("--rounds", type=FROM_1, default=15, show_default=True)
@click.option("--threads", type=FROM_1, default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the figures as JSON.")
def main(
    config: str,
    schedule: str,
    student_input: tuple[str, ...],
    size_px: int,
    rounds: int,
    threads: int,
    out: Path | None,
) -> None:
    torch.set_num_threads(threads)
    rows = []
    click.echo("| input | step | floor s | step s | time ratio | floor MiB | step MiB | memory ratio |")
    click.echo("|---|---|---:|---:|---:|---:|---:|---:|")
    for input_ in student_input:
        cfg = mhkd.load_cfg(config)
        cfg.MHKD.SCHEDULE, cfg.MODEL.STUDENT.INPUT = schedule, input_
        model = build_model(cfg)
        batch = make_batch(size_px, cfg.MODEL.DEVICE, model.student.backbone.input_factor)
        for stage in SCHEDULES[schedule].steps:
            row = {"input": input_, "step": stage.name, **measure(model, stage, batch, rounds)}
            rows.append(row)
            click.echo("| " + " | ".join(str(v) for v in row.values()) + " |")
    if out:
        machine = {"processor": platform.processor() or platform.machine(), "threads": threads}
        out.write_text(json.dumps({"machine": machine, "torch": torch.__version__, "rows": rows}, indent=2))


def measure(model, stage, batch, rounds: int) -> dict:
    """Medians of ``rounds`` turns of floor and step, after two of warming up."""
    model.apply_stage(stage)
    model.train()
    student_batch = [{"image": x["image_lr"], "instances": x["instances"]} for x in batch]

    def backward(losses):
        sum(losses.values()).backward()
        model.zero_grad(set_to_none=True)

    def floor():
        if stage.uses_teacher:
            with torch.no_grad():
                images = model.teacher.preprocess_image(batch)
                model.teacher.backbone(images.tensor)
        backward(model.student(student_batch))

    meters = {}
    with EventStorage():
        for turn in range(rounds + 2):
            if turn in (0, 2):
                meters = {f: Meter(str(model.device)) for f in (floor, "step")}
            for key, function in ((floor, floor), ("step", lambda: backward(model(batch)))):
                torch.manual_seed(turn)
                meters[key](function)
    time_f, time_s = (statistics.median(meters[k].seconds) for k in (floor, "step"))
    mib_f, mib_s = (statistics.median(meters[k].mib) for k in (floor, "step"))
    return {
        "floor_s": round(time_f, 3),
        "step_s": round(time_s, 3),
        "time_ratio": round(statistics.median(
            s / f for f, s in zip(meters[floor].seconds, meters["step"].seconds, strict=True)
        ), 3),
        "floor_mib": round(mib_f),
        "step_mib": round(mib_s),
        "memory_ratio": round(mib_s / max(mib_f, 1), 3),
    }  # fmt: skip


if __name__ == "__main__":
    main()
