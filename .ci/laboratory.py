"""``make laboratory``: the wheel with [detect] in a fresh environment, measured, and run on a slide.

What [detect] asks for comes from requirements/lock-detect.txt, which has to have all of it.

Fails if the environment takes more than 300 MB or --max-seconds, or has a package that is for training.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
SOURCES = ("mhkd", "projects", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
MAX_MB = 300
ABSENT = ("torch", "torchvision", "detectron2", "cv2", "scipy", "skimage", "matplotlib", "pandas")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--student", type=Path, help=".onnx file; default: one that finds boxes everywhere")
    parser.add_argument("--slide", type=Path, help="default: one that is drawn")
    parser.add_argument("--max-seconds", type=float, default=60, help="of the installation [%(default)s]")
    parser.add_argument("more", nargs="*", help="after --: options of mhkd detect")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "source").mkdir()
        given = [path and path.absolute() for path in (options.student, options.slide)]
        check(Path(name), *given, options.max_seconds, options.more)


def check(tmp: Path, student: Path | None, slide: Path | None, max_seconds: float, more: list[str]) -> None:
    for name in SOURCES:  # a copy, since what an earlier build left would get into the wheel
        copy = shutil.copytree if (REPO / name).is_dir() else shutil.copy
        copy(REPO / name, tmp / "source" / name)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp, tmp / "source")
    (wheel,) = tmp.glob("mhkd-*.whl")
    venv.create(tmp / "env", with_pip=True)
    programs = tmp / "env" / ("Scripts" if os.name == "nt" else "bin")

    began = time.perf_counter()
    install = (programs / "python", "-m", "pip", "install", "-q")
    run(*install, "--require-hashes", "-r", REPO / "requirements/lock-detect.txt")
    run(*install, "--no-index", f"{wheel}[detect]")
    seconds = time.perf_counter() - began
    megabytes = sum(p.stat().st_size for p in (tmp / "env").rglob("*") if p.is_file()) / 1e6
    print(f"installed in {seconds:.0f} s, {megabytes:.0f} MB with pip")
    found = f"import importlib.util as u; print(*(n for n in {ABSENT} if u.find_spec(n)))"
    extra = run(programs / "python", "-c", found).strip()
    if extra or seconds > max_seconds or megabytes > MAX_MB:
        sys.exit(f"more than {MAX_MB} MB, {max_seconds:g} s, or a package for training: {extra or 'none'}")

    if student is None:
        run(*install, "onnx")  # writes the student
        write = "from onnx_student import *; write_onnx_student('s.onnx', [[9, 9, 60, 60]], [0.9], [0])"
        run(programs / "python", "-c", write, cwd=tmp, PYTHONPATH=str(REPO / "tests"))
    if slide is None:
        run(programs / "python", "-c", DRAW, cwd=tmp)
    words = [slide or tmp / "drawn.tiff", "--student", student or tmp / "s.onnx", *more]
    words += ["--out", "found"]
    print(run(programs / "mhkd", "detect", *words, cwd=tmp), end="")
    print((tmp / "found/summary.csv").read_text(encoding="utf-8-sig"), end="")


DRAW = """
import numpy as np, pyvips
x, y = np.meshgrid(*[np.arange(2048)] * 2)
rgb = np.full((2048, 2048, 3), 240, np.uint8)
rgb[(x - 1000) ** 2 + (y - 1000) ** 2 < 800**2] = 214, 150, 196
image = pyvips.Image.new_from_array(rgb).copy(interpretation="srgb", xres=1000, yres=1000)
image.tiffsave("drawn.tiff", tile=True, pyramid=True, compression="jpeg", resunit="cm")
"""


def run(*words: object, cwd: Path | None = None, **more: str) -> str:
    """What a program prints; what goes wrong in it ends this one."""
    own = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | more
    result = subprocess.run(list(map(str, words)), cwd=cwd, env=own, stdout=subprocess.PIPE, encoding="utf-8")
    if result.returncode:
        sys.exit(f"{result.stdout}\nfailed: {' '.join(map(str, words))}")
    return result.stdout


if __name__ == "__main__":
    main()
