"""What a laboratory installs, mhkd[detect]: everything on slides, without what it has not got."""

import csv
import json
import os
import re
import subprocess
import sys
from urllib.request import urlopen

from mhkd.synthetic import make_slides

import numpy as np
import pytest
from onnx_student import write_onnx_student
from shapely.geometry import Polygon
from support import REPO

pytestmark = pytest.mark.slow

ABSENT = (
    "torch", "torchvision", "detectron2", "fvcore", "yacs", "cv2", "scipy", "skimage", "matplotlib", "onnx",
    "pandas", "transformers", "distributed",
)  # fmt: skip


@pytest.fixture
def laboratory(tmp_path):
    """The words and the environment of ``mhkd`` where those packages are not, in its processes neither."""
    (tmp_path / "without").mkdir()
    absent = f"import sys; sys.modules.update(dict.fromkeys({ABSENT}))"
    (tmp_path / "without/sitecustomize.py").write_text(absent)
    path = os.pathsep.join([str(tmp_path / "without"), str(REPO)])
    own = {**os.environ, "PYTHONPATH": path, "DETECTRON2_DATASETS": str(tmp_path / "datasets")}

    def start(*words):
        words = [sys.executable, "-m", "mhkd", *map(str, words)]
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(words, cwd=tmp_path, env=own, text=True, **both)

    return start


def test_everything_on_slides(laboratory, tmp_path):
    def mhkd(*words, status=0):
        process = laboratory(*words)
        said = process.communicate()[0]
        assert process.returncode == status, said
        return said

    make_slides(tmp_path / "slides", 2, seed=0, size_px=1024, num_glomeruli=(4, 5))
    words = ("--out", "datasets/mine", "--mpp", 1, "--tile-size-px", 512, "--workers", 2)
    assert "mine_train: 1 slides, 4 tiles" in mhkd("tile", "slides", *words)

    said = mhkd("inspect", "mine", "--out", "look")
    assert 'No histograms of the sizes: matplotlib is not installed: pip install "mhkd[draw]"' in said
    assert (tmp_path / "look/mine_train.png").is_file()

    boxes, masks = [[2, 2, 14, 30], [18, 4, 30, 24], [16, 2, 18, 4]], np.ones((3, 28, 28))
    masks[1, 14:] = 0  # the upper half of the second
    write_onnx_student(tmp_path / "student.onnx", boxes, [0.9, 0.6, 0.01], [1, 0, 0], masks)
    said = mhkd("detect", "slides", "--student", "student.onnx", "--out", "found")
    assert "slides finished: 2, glomeruli: 4" in said  # two on each, which is one tile
    results = json.loads((tmp_path / "found/slide_000.tiff/coco_instances_results.json").read_text())
    assert [r["bbox"] for r in results] == [[8, 8, 48, 112], [72, 16, 48, 80]]  # 4 um to 1
    shapes = [Polygon(np.reshape(r["segmentation"], (-1, 2))) for r in results]
    assert [shape.bounds for shape in shapes] == [(8, 8, 56, 120), (72, 16, 120, 56)]
    with open(tmp_path / "found/slide_000.tiff/glomeruli.csv", encoding="utf-8-sig", newline="") as f:
        areas_um2 = [float(row["area_um2"]) for row in csv.DictReader(f)]
    assert areas_um2 == pytest.approx([48 * 112, 48 * 40], rel=0.02)
    run = json.loads((tmp_path / "found/slide_000.tiff/run.json").read_text())
    assert "onnxruntime" in run["versions"] and "torch" not in run["versions"]

    (tmp_path / "student").mkdir()
    said = mhkd("detect", "slides", "--student", "student", "--out", "found", status=2)
    assert said.startswith('mhkd: error: torch is not installed: pip install "mhkd[train]"')
    assert len(said.splitlines()) == 1

    assert "any class" in mhkd("score", "found", "--annotations", "slides", "--bootstrap", 50)
    assert (tmp_path / "found/scores/errors/slide_000.tiff.png").is_file()

    server = laboratory("view", "found", "--port", 0, "--no-browser")
    try:
        address = re.search(r"http://\S+", server.stdout.readline()).group()
        assert b"<html" in urlopen(address, timeout=20).read()
    finally:
        server.terminate()
        server.wait(timeout=20)
