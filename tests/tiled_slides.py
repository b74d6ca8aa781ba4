"""Small drawn slides and what `mhkd tile` makes of them."""

import json
import zlib

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.cli import main

import cv2
import numpy as np
import pyvips
from click.testing import CliRunner

# 600 x 400 base pixels of 1 um, left half tissue. At 2 um per HR pixel tiles of 64 are 128 of them:
# five columns, the last two of which are glass, and four rows.
SIZE_PX, MPP = (600, 400), 1.0
ARGS = ["--mpp", "2", "--lr-factor", "4", "--tile-size-px", "64"]
DISKS = {"normal": [(64, 64)], "sclerotic": [(120, 320)]}  # x = 128 cuts the second
RADIUS = 50
BY_PATIENT = ["--patient-pattern", "^(?P<patient>[a-z]+)"]


def circle(x, y):
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.stack([x + RADIUS * np.cos(angle), y + RADIUS * np.sin(angle)], axis=1).tolist()
    return [*ring, ring[0]]


def write_annotations(path, disks=DISKS):
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [circle(x, y)]},
            "properties": {"classification": {"name": name}},
        }
        for name, places in disks.items()
        for x, y in places
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def write_slide(folder, name, mpp=MPP, shade=0):
    rgb = np.full((SIZE_PX[1], SIZE_PX[0], 3), 244, np.uint8)
    rgb[:, :300] = (215, 160, 200 - shade)
    for places in DISKS.values():
        for x, y in places:
            cv2.circle(rgb, (x, y), RADIUS, (110, 40, 120), -1)
    image = pyvips.Image.new_from_array(rgb).copy(interpretation="srgb")
    if mpp:
        image = image.copy(xres=1000 / mpp, yres=1000 / mpp)
    path = folder / f"{name}.tiff"
    image.tiffsave(str(path), tile=True, compression="deflate", resunit="cm")
    write_annotations(folder / f"{name}.geojson")
    return path


def run(slides, out, *more, exit_code=0, args=ARGS):
    result = CliRunner().invoke(main, ["tile", str(slides), "--out", str(out), *args, *more])
    assert result.exit_code == exit_code, result.output
    return result.output


def manifest_of(out):
    return json.loads((out / "manifest.json").read_text())


def mark(part_file):
    """A mark that comes through where what is finished is not done again."""
    part = json.loads(part_file.read_text())
    del part["crc32"]
    part["counts"]["marks"] = 1
    part_file.write_text(json.dumps({**part, "crc32": zlib.crc32(json.dumps(part).encode())}))


def files_in(folder):
    """Content of every file, the manifest's run and the work folder apart."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.parent.name != ".tile"):
        content = path.read_bytes()
        if path.name == "manifest.json":
            content = {k: v for k, v in json.loads(content).items() if k != "run"}
        found[str(path.relative_to(folder))] = content
    return found
