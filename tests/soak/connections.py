"""What the commands connect to, which is nothing: by their system calls, or, without strace, Python's events.

No command here is given an address, so none may be connected to, looked up or sent to, not even one of this
machine; the page's server may listen, on this machine alone.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap

from mhkd.synthetic.slides import write_tiff

import numpy as np
from labelled_images import write_labels
from onnx_student import write_onnx_student
from results_folder import write_result
from soak.slow_clients import Honest
from support import CONFIGS, DISKS, REPO, TINY, write_disks

# Of a socket's address in what strace writes; sockets of files and of the kernel's own tables are none.
_CALL = re.compile(r"^\d+ +(connect|sendto|sendmsg|sendmmsg|bind)\(.*?sa_family=(AF_\w+)(.*)$")
_HOST = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
_NO_NETWORK = {"AF_UNIX", "AF_NETLINK", "AF_UNSPEC", "AF_LOCAL"}
# Each process of Python writes what it is about to do.
HOOK = """
import os, sys
out = os.open(os.environ["MHKD_EVENTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
EVENTS = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"}
NAMES = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
def note(event, args):
    if event in EVENTS and isinstance(args[1], tuple):
        os.write(out, f"{event.partition('.')[2]} {args[1][0]}\\n".encode())
    elif event in NAMES:
        os.write(out, f"lookup {args[0]}\\n".encode())
sys.addaudithook(note)
"""


def cases(full):
    return list(CASES)


def run(case, folder):
    by_strace = shutil.which("strace") is not None
    trace = Trace(folder, by_strace)
    CASES[case](trace, folder)
    assert trace.programs
    assert trace.reached() == []
    return "connected to nothing" if by_strace else "Python connected to nothing", {
        "programs": trace.programs
    }


class Trace:
    """Runs programs and knows what they reach for."""

    def __init__(self, folder, by_strace):
        self.log, self.by_strace, self.programs = folder / "trace", by_strace, 0
        self.environment = {
            **os.environ, "DETECTRON2_DATASETS": str(folder / "datasets"), "PYTHONUNBUFFERED": "1",
            "MHKD_EVENTS": f"{self.log}.events", "PYTHONPATH": str(REPO),
        }  # fmt: skip
        if not by_strace:
            hook = folder / "hook"
            hook.mkdir()
            (hook / "sitecustomize.py").write_text(HOOK)
            self.environment["PYTHONPATH"] = os.pathsep.join([str(hook), str(REPO)])

    def begin(self, *words):
        """A program of Python in a group of its own."""
        self.programs += 1
        strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=network", "-e", "signal=none"]
        strace += ["-o", f"{self.log}.{self.programs}"]
        words = [*(strace if self.by_strace else []), sys.executable, *map(str, words)]
        return subprocess.Popen(
            words, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def run(self, *words):
        process = self.begin(*words)
        printed, _ = process.communicate()
        assert process.returncode == 0, f"{words}: {printed[-3000:]}"

    def mhkd(self, *words):
        self.run("-m", "mhkd", *words)

    def program(self, text):
        """Lines of Python that may import what tests do, in the trace's own folder."""
        here = f"import os, sys; sys.path.append({str(REPO / 'tests')!r}); os.chdir({str(self.log.parent)!r})"
        self.run("-c", here + textwrap.dedent(text))

    def reached(self):
        """ "call host" of all that is not to be reached."""
        found = []
        for path in self.log.parent.glob(f"{self.log.name}.*"):
            lines = path.read_text(errors="replace").splitlines()
            found += [line for line in lines if " " in line] if path.suffix == ".events" else addresses(lines)
        return [one for one in found if one not in ("bind 127.0.0.1", "bind ::1")]


def addresses(lines):
    """ "call host" of each line of strace's that has the address of a network."""
    found = []
    for line in lines:
        call = _CALL.match(line)
        if call and call[2] not in _NO_NETWORK:
            host = _HOST.search(call[3])
            found.append(f"{call[1]} {host[1] or host[2] if host else call[2]}")
    return found


def draw_slide(path):
    """1024 um a side, pink with dark disks, so that there is tissue to search."""
    pixels = np.full((1024, 1024, 3), (235, 160, 200), np.uint8)
    y, x = np.mgrid[:1024, :1024]
    pixels[(x % 256 - 128) ** 2 + (y % 256 - 128) ** 2 < 60**2] = (110, 60, 140)
    write_tiff(path, pixels, 1.0, "disks")
    return path


def networks(trace, folder):
    """train, eval, overlay, export as .onnx, which onnxruntime runs."""
    write_disks(folder / "datasets")
    out = folder / "run"
    config = ["--config-file", CONFIGS / "Base-MHKD-R50-FPN.yaml"]
    options = ["OUTPUT_DIR", out, *TINY, *DISKS]
    trace.mhkd("train", *config, *options)
    trace.mhkd("eval", *config, *options)
    student = out / "student"
    trace.mhkd("overlay", "--student", student, "--dataset", "disks_val", "--out", folder / "drawn")
    trace.mhkd("export", student, "--format", "onnx", "--out", folder / "student.onnx")


def transformers(trace, folder):
    """A training of DINO, whose parts are those of the package transformers."""
    write_disks(folder / "datasets")
    trace.program("""
        from pathlib import Path
        import mhkd
        from detectors import SMALL, detector_config
        from mhkd.engine.run import run_training
        steps = ["MHKD.TEACHER_ITERS", 2, "MHKD.STAGE", 0]
        run_training(detector_config("dino_R18_cpu", "run", [*SMALL["dino_R18_cpu"], *steps]))
        assert Path("run/0_teacher/stage.json").is_file()
    """)


def demo(trace, folder):
    """The demo, small."""
    trace.program("""
        from pathlib import Path
        import small_demo
        small_demo.run(Path("demo"))
        assert list(Path("demo/overlays").glob("*.png"))
    """)


def file(trace, folder):
    """detect with a student of one file."""
    write_onnx_student(folder / "student.onnx", [[9, 9, 60, 60]], [0.9], [0])
    slide = draw_slide(folder / "a.tiff")
    trace.mhkd("detect", slide, "--student", folder / "student.onnx", "--out", folder / "found")


def drawn(trace, folder):
    """make-slides, tile, inspect."""
    drawing = ["-n", 2, "--size-px", 1024, "--mpp", 2.0, "--num-glomeruli", 4, 4]
    trace.mhkd("make-slides", folder / "slides", *drawing)
    cut = ["--mpp", 2.0, "--lr-factor", 4, "--tile-size-px", 256]
    trace.mhkd("tile", folder / "slides", "--out", folder / "datasets/drawn", *cut)
    trace.mhkd("inspect", folder / "datasets/drawn")


def classes(trace, folder):
    """train of classifiers, classify."""
    for split, names in (("train", "abcdef"), ("val", "xyz")):
        shades = ("dark", "pale") * 3
        rows = [(f"{n}.png", shade, split + n, split + n) for n, shade in zip(names, shades)]
        write_labels(folder / "datasets", rows, split=split)
    trace.mhkd(
        "train", "--config-file", CONFIGS / "Lymphoma/resnet18_cpu.yaml", "OUTPUT_DIR", folder / "run",
        "DATASETS.TRAIN", ("cells_train",), "DATASETS.TEST", ("cells_val",), "INPUT.LR_FACTOR", 2,
        "MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.STRIDES", [2, 1, 2, 2, 1],
        "MHKD.TEACHER_EPOCHS", 0, "MHKD.STUDENT_EPOCHS", 0, "MHKD.TEACHER_ITERS", 3, "MHKD.STUDENT_ITERS", 5,
        "DATALOADER.NUM_WORKERS", 0,
    )  # fmt: skip
    images = folder / "datasets/cells"
    trace.mhkd(
        "classify", images, "--student", folder / "run/student", "--out", folder / "told", "--device", "cpu"
    )


def page(trace, folder):
    """view, while somebody looks and corrects."""
    slide = draw_slide(folder / "a.tiff")
    write_result(folder / "out", slide, [[10, 10, 60, 60]], [0.9], [0], size_px=(1024, 1024))
    process = trace.begin("-m", "mhkd", "view", folder / "out", "--no-browser", "--port", 0)
    try:
        honest = Honest(int(re.search(r":(\d+)/", process.stdout.readline())[1]))
        honest.ask_all()
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # a background run may ignore SIGINT
        process.communicate(timeout=60)


CASES = {
    function.__name__: function for function in (file, drawn, networks, transformers, classes, demo, page)
}
