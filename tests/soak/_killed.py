"""Processes that the system ends at a chosen moment: nothing of theirs runs after it, as when power fails.

Of a call that changes a file, the moment before it; of a write, the byte; else a share of the processor's
time that the whole takes. None depends on how busy the machine is.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import re
import resource
import signal
import sys
from pathlib import Path

import mhkd  # noqa: F401  (before Detectron2, which it prepares)
from mhkd.engine import prepare_datasets, run
from mhkd.engine.checkpoint import load_file
from mhkd.engine.log import RunLog
from mhkd.engine.unread import load_run_cfg
from mhkd.slide_detection.many import detect_slides
from mhkd.slide_detection.options import DetectOptions

import dask
import torch
from blob_student import detect_disks
from detectron2.engine import HookBase
from detectron2.utils import comm
from support import CONFIGS, DISKS, tiny_config

WRITES = os.O_WRONLY | os.O_RDWR
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "open"}
SAID, DIED = "said.txt", "died"
ITERATIONS = 7
FOREVER = ("log.txt", "metrics.json", ".lock")  # of lines with times, or by the process


# --- Within the process that is to end ------------------------------------------------------------


class Calls:
    """Counts the calls that change files below a folder; ``at`` of them, something happens first."""

    def __init__(self, folder, at=None, happens=None):
        self.folder, self.at, self.happens, self.count = os.path.realpath(folder), at, happens, 0
        sys.addaudithook(self.see)

    def see(self, event, args):
        if event not in CHANGES or not isinstance(args[0], str | os.PathLike):
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & WRITES):
            return
        if not os.path.abspath(args[0]).startswith(self.folder + os.sep):
            return
        self.count += 1
        if self.count == self.at:
            self.happens()


def end_at(moment, folder):
    """``moment``: ("call", number), ("byte", number of a call, bytes); others are not this process's own."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kind, *values = moment or ("never",)
    if kind == "call":
        Calls(folder, values[0], lambda: os.kill(os.getpid(), signal.SIGKILL))
    elif kind == "byte":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        limits = (values[1], values[1])
        Calls(folder, values[0], lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))


class EndOne(HookBase):
    """After an iteration: kills a worker of the DataLoader, or this process if it is of a rank."""

    def __init__(self, iteration, rank=None):
        self.iteration, self.rank = iteration, rank

    def before_step(self):
        if self.trainer.iter != self.iteration:
            return
        if self.rank is None:
            for worker in multiprocessing.active_children():
                worker.kill()
                worker.join()
        elif self.rank == comm.get_rank():
            os.kill(os.getpid(), signal.SIGKILL)


def config(kind, options=()):
    """Of a tiny training into "out", ITERATIONS in two steps."""
    if kind == "detection":
        more = ["MHKD.SCHEDULE", "global_only", "MHKD.TEACHER_ITERS", 3, "MHKD.STUDENT_ITERS", 4]
        return tiny_config("out", [*DISKS, *more, "SOLVER.CHECKPOINT_PERIOD", 1, *options])
    options = ["MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "INPUT.LR_FACTOR", 2, "DATALOADER.NUM_WORKERS", 0,
               "MODEL.RESNETS.STRIDES", [2, 1, 2, 2, 1], "MHKD.TEACHER_EPOCHS", 0, "MHKD.STUDENT_EPOCHS", 0,
               "MHKD.TEACHER_ITERS", 3, "MHKD.STUDENT_ITERS", 4, "DATASETS.TRAIN", ("cells_train",),
               "DATASETS.TEST", ("cells_val",), "SOLVER.CHECKPOINT_PERIOD", 1, "OUTPUT_DIR", "out",
               *options]  # fmt: skip
    return load_run_cfg(CONFIGS / "Lymphoma" / "resnet18_cpu.yaml", options)


def train_here(kind, options, hook=None):
    """As ``mhkd train --resume`` does, with one hook more."""
    torch.set_num_threads(1)
    cfg = config(kind, options)
    if hook:

        class WithHook(run.DistillationTrainer):
            def __init__(self, cfg):
                super().__init__(cfg)
                self.register_hooks([hook])

        run.DistillationTrainer = WithHook
    with RunLog() as log:
        prepare_datasets(cfg)
        run.train(cfg, True, log)


def train(kind, options=(), hook=None, processes=1):
    if processes == 1:
        return train_here(kind, options, hook)
    run.run_processes(train_here, processes, 1, 0, "auto", (kind, options, hook))


def detect(slide):
    detect_disks(slide, "out")


def detect_on_cluster(slide, student, at=None):
    """As ``mhkd detect --scheduler local``; a worker is killed ``at`` that call that changes a file."""
    os.environ["DASK_DISTRIBUTED__WORKER__PRELOAD"] = str(Path(__file__).with_name("_dask_worker.py"))
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # for it
    os.environ["MHKD_END_AT"] = str(at or 0)
    dask.config.refresh()
    found, _ = detect_slides([slide], "out", {"folder": student}, DetectOptions(), scheduler="local")
    assert all("error" not in summary for summary in found.values()), found


def _inside(folder, environment, moment, work, args):
    """``work(*args)`` in ``folder``; all that it says goes to a file there, and counts to another."""
    os.environ.update(environment)  # not as it was when the server that forks this began
    multiprocessing.set_start_method("fork", force=True)  # of a DataLoader's workers: as in ``mhkd train``
    os.chdir(folder)
    said = os.open(SAID, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(said, stream)
    calls = Calls("out") if moment is None else None
    end_at(moment, "out")
    work(*args)
    if calls:
        used = resource.getrusage(resource.RUSAGE_SELF)
        Path("counts.json").write_text(json.dumps([calls.count, used.ru_utime + used.ru_stime]))


# --- Outside ---------------------------------------------------------------------------------------


_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["_killed"])


def in_a_process(folder, moment, work, *args):
    """Exit status of ``work(*args)`` in a process of its own that begins with everything imported."""
    process = _context.Process(target=_inside, args=(str(folder), dict(os.environ), moment, work, args))
    process.start()
    if moment and moment[0] == "time":
        while process.is_alive() and cpu_seconds(process.pid) < moment[1]:
            process.join(0.01)
        process.kill()
    process.join()
    return process.exitcode


def cpu_seconds(pid):
    """Of all threads of a process that has not been waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def said(folder):
    return Path(folder, SAID).read_text(errors="replace")[-3000:]


def contents(out):
    """What a finished run leaves, without times, places and numbers of workers."""
    found = {}
    for path in sorted(p for p in Path(out).rglob("*") if p.is_file()):
        if path.name.startswith((*FOREVER, "events.out")):
            continue
        name = str(path.relative_to(out))
        if path.suffix == ".pth":
            weights = load_file(path)["model"]
            digest = hashlib.sha256()
            for key, value in weights.items():
                digest.update(key.encode() + value.contiguous().numpy().tobytes())
            found[name] = digest.hexdigest()
        elif path.name in ("stage.json", "run.json"):
            content = json.loads(path.read_text())
            found[name] = {k: v for k, v in content.items() if k not in ("seconds", "timings", "command")}
        elif path.suffix == ".yaml":
            found[name] = re.sub(r"NUM_WORKERS: \d+", "", path.read_text())
        else:
            found[name] = path.read_bytes()
    return found


def differences(found, expected):
    """Names of files that differ, or are on one side only."""
    return sorted(k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k))


@contextlib.contextmanager
def datasets_at(root):
    before = os.environ.get("DETECTRON2_DATASETS")
    os.environ["DETECTRON2_DATASETS"] = str(root)
    try:
        yield
    finally:
        os.environ.pop("DETECTRON2_DATASETS")
        if before:
            os.environ["DETECTRON2_DATASETS"] = before
