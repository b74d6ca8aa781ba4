"""Memory of what goes on for long: a training, slides through a student, the page with 20 clients.

In each case the memory of one process is read as it goes on. Its slope after a warm-up, the median
of the slopes between any two readings (Theil and Sen), must stay below MOST_MB for 1,000 of what is counted:
iterations, tiles, answers of the page's server.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

MOST_MB = 1.0  # for 1,000 of what is counted
WARM_UP = 0.3  # of the readings, left out
CASES = ("iterations 1000", "tiles 2000", "page 120 s")
LONG = ("iterations 2000", "tiles 10000", "page 1200 s")
NUM_CLIENTS, NUM_READINGS = 20, 200
# What is resident goes up and down by 20 MB with what has been freed and is kept for the next answer, so a
# server that is asked says what is in use: all of it, as Python is told to get its memory from malloc too.
SAYS_IN_USE = """
import ctypes, gc, os, signal
assert os.environ["PYTHONMALLOC"] == "malloc"
NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in NAMES.split()]
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
def say(*_):
    gc.collect()
    info = libc.mallinfo2()
    print((info.uordblks + info.hblkhd) / 1e6, flush=True)
signal.signal(signal.SIGUSR1, say)
"""
# The method's last step.
SCHEDULE = """
student_start: scratch
steps:
  - {name: all, weights: {detect: 0.9, local: 0.1, output: 0.1}, teacher: [heads], bfa: true}
"""


def cases(full):
    return [*CASES, *(LONG if full else ())]


def run(case, folder):
    kind, number = case.split()[:2]
    figures = {}
    if kind == "page":
        readings, most_mb = watch_page(folder, int(number))
        figures["most_resident_mb"] = round(most_mb, 1)
    else:
        command = [sys.executable, __file__, kind, number, str(folder)]
        child = subprocess.run(command, capture_output=True, text=True)
        assert child.returncode == 0, child.stderr[-3000:]
        readings = json.loads(child.stdout.splitlines()[-1])
    per_thousand = 1000 * slope(readings)
    done, mb = readings[-1]
    figures |= {"mb_per_1000": round(per_thousand, 3), "done": done, "mb_at_end": round(mb, 1)}
    assert per_thousand < MOST_MB, f"{figures}: more than {MOST_MB} MB for 1,000"
    return "flat", figures


def slope(readings):
    """MB for one more of what is counted; readings are (count, MB)."""
    x, y = np.array(readings[int(len(readings) * WARM_UP) :], float).T
    i, j = np.triu_indices(len(x), 1)
    apart = x[j] > x[i]
    return float(np.median((y[j] - y[i])[apart] / (x[j] - x[i])[apart]))


def resident_mb(pid="self"):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def train(iterations, folder):
    """A teacher's two iterations, then a student's, with checkpoints and scores as in a long training."""
    import mhkd  # noqa: F401  (first)
    from mhkd.engine import DistillationTrainer, prepare_datasets

    from detectron2.engine import HookBase
    from support import DISKS, tiny_config, write_disks

    readings = []

    class Read(HookBase):
        def after_step(self):
            if self.trainer.iter % 10 == 9:
                readings.append((self.trainer.iter + 1, resident_mb()))

    write_disks(folder)
    os.environ["DETECTRON2_DATASETS"] = str(folder)
    (folder / "last.yaml").write_text(SCHEDULE)
    options = ["MHKD.SCHEDULE", str(folder / "last.yaml"), "MHKD.STUDENT_ITERS", iterations,
               "SOLVER.CHECKPOINT_PERIOD", 50, "TEST.EVAL_PERIOD", 100]  # fmt: skip
    cfg = tiny_config(folder / "output", [*DISKS, *options])
    prepare_datasets(cfg)
    trainer = DistillationTrainer(cfg)
    trainer.register_hooks([Read()])
    trainer.train()
    return readings


def detect(tiles, folder):
    """One slide after the other, each into a folder of its own."""
    from blob_student import detect_disks, write_disks

    path, _, _ = write_disks(folder / "disks.tiff", (7000, 7000), mpp=(4.0, 4.0))
    readings, done = [], 0
    while done < tiles:
        out = folder / f"out{done}"
        detect_disks(path, out)
        done += json.loads((out / "disks.tiff" / "run.json").read_text())["tiles"]
        readings.append((done, resident_mb()))
    return readings


def watch_page(folder, seconds):
    """Readings of what `mhkd view` has in use while none of its clients waits for an answer; and the most
    that is resident."""
    from _page_clients import Client, serving
    from blob_student import detect_disks, write_disks

    path, _, _ = write_disks(folder / "disks.tiff", (9000, 9000))
    detect_disks(path, folder / "out")
    go_on, readings, most_mb = threading.Event(), [], 0.0
    with serving(folder / "out", SAYS_IN_USE, {"PYTHONMALLOC": "malloc"}) as (server, port):
        clients = [Client(port, seed, go_on) for seed in range(NUM_CLIENTS)]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            go_on.set()
            time.sleep(seconds / NUM_READINGS)
            go_on.clear()
            with contextlib.ExitStack() as stack:
                for client in clients:
                    stack.enter_context(client.asking)
                most_mb = max(most_mb, resident_mb(server.pid))
                server.send_signal(signal.SIGUSR1)
                in_use_mb = float(server.stdout.readline())
                readings.append((sum(client.answers for client in clients), in_use_mb))
        go_on.set()
        for client in clients:
            client.end()
    return readings, most_mb


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    kind, number, folder = sys.argv[1:]
    measure = {"iterations": train, "tiles": detect}[kind]
    with contextlib.redirect_stdout(sys.stderr):
        measured = measure(int(number), Path(folder))
    print(json.dumps(measured))
