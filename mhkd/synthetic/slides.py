"""Synthetic slides as files: a tiled pyramidal TIFF and QuPath annotations beside it."""

import json
import os
import re
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyvips
from shapely.geometry import Polygon
from tqdm import tqdm

from ..errors import InputError
from ..files import make_folder, replacing, write_text
from ..palette import DRAWN_CLASSES
from .render import render_slide

GENERATOR = "mhkd.synthetic"
VERSION = 4  # raise it when the drawings change, so that old slides are drawn anew


def to_geojson(glomeruli: list[tuple[Polygon, str]], seed: int | Sequence[int]) -> dict[str, Any]:
    """QuPath's FeatureCollection of (outline in base pixels, class); ids come from ``seed``."""
    rng = np.random.default_rng(seed)
    features = []
    for polygon, name in glomeruli:
        ring = [[round(x, 2), round(y, 2)] for x, y in polygon.exterior.coords]
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.UUID(bytes=rng.bytes(16), version=4)),
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": name, "color": list(DRAWN_CLASSES[name])},
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}


def write_tiff(path: str | os.PathLike[str], rgb: np.ndarray, mpp: float, description: str) -> None:
    """Write (H, W, 3) uint8 as a tiled pyramidal JPEG TIFF that records ``mpp``.

    ``path`` is replaced only once the whole file is there.

    Raises:
        InputError: the disk is full, or cannot be written to.
    """
    with replacing(path) as temporary:
        _save_tiff(temporary, rgb, mpp, description)


def _save_tiff(path: Path, rgb: np.ndarray, mpp: float, description: str) -> None:
    image = pyvips.Image.new_from_memory(rgb, rgb.shape[1], rgb.shape[0], 3, "uchar")
    image = image.copy(xres=1000 / mpp, yres=1000 / mpp, interpretation="srgb")
    image.set_type(pyvips.GValue.gstr_type, "image-description", description)
    try:
        image.tiffsave(
            str(path), tile=True, tile_width=256, tile_height=256, pyramid=True,
            compression="jpeg", Q=90, bigtiff=True, resunit="cm",
        )  # fmt: skip
    except pyvips.Error as e:  # the pixels are in memory, so it is the disk; libvips says so in many lines
        reason = re.search("system error: (.+)", str(e))
        raise OSError(reason[1] if reason else " ".join(str(e).split())) from e


def _is_done(tiff: Path, geojson: Path, description: dict[str, Any]) -> bool:
    """Whether both files exist and were drawn with these parameters."""
    if not tiff.exists():
        return False
    remedy = f"{tiff} was not made by this generator: move it or choose another output folder"
    try:
        image = pyvips.Image.new_from_file(str(tiff))
        found = json.loads(image.get("image-description"))
    except (pyvips.Error, ValueError) as error:
        raise InputError(remedy) from error
    if not isinstance(found, dict) or found.get("generator") != GENERATOR:
        raise InputError(remedy)
    return found == description and geojson.exists()


def _make_slide(tiff: Path, description: dict[str, Any]) -> None:
    p = description
    seed = (p["seed"], p["slide"])
    count = p["num_glomeruli"]
    rgb, glomeruli = render_slide(
        seed,
        p["size_px"],
        p["mpp"],
        num_glomeruli=count if isinstance(count, int) else tuple(count),
        stain=p["stain"],
    )
    # The slide is the last to appear, because its presence says that the pair is complete.
    with replacing(tiff) as slide:
        _save_tiff(slide, rgb, p["mpp"], json.dumps(description))
        write_text(json.dumps(to_geojson(glomeruli, seed)), tiff.with_suffix(".geojson"))


def _one_thread() -> None:
    cv2.setNumThreads(1)


def make_slides(
    out_dir: str | os.PathLike[str],
    num_slides: int,
    *,
    seed: int = 0,
    size_px: int = 4096,
    mpp: float = 1.0,
    num_glomeruli: int | tuple[int, int] = (25, 50),
    stain: str | None = None,
    workers: int = 1,
    progress: bool = True,
) -> list[Path]:
    """Write ``slide_000.tiff``, ``slide_000.geojson`` and so on, each slide a patient of its own.

    Slides that are there already with the same parameters are kept; slide k depends on ``seed`` and
    k alone, so asking for more later adds to the folder. With ``workers`` > 1 a script needs the
    usual ``if __name__ == "__main__"`` guard, and each process spends some seconds on imports.

    Args:
        out_dir: folder, made if missing.
        num_slides: how many.
        seed: of the whole set.
        size_px: side of a slide in base pixels.
        mpp: micrometres per base pixel, up to 2.
        num_glomeruli: on each slide, or an inclusive range.
        stain: "HE", "PAS" or None for one by chance per slide.
        workers: processes.
        progress: show a bar.

    Returns:
        The paths of the TIFFs in order.

    Raises:
        InputError: a parameter out of range, no room for the glomeruli, or a file of another origin
            where a slide would go.
    """
    if num_slides < 0 or workers < 1:
        raise InputError(f"num_slides is {num_slides} and workers {workers}: at least 0 and 1")
    out_dir = Path(out_dir)
    make_folder(out_dir)
    count = num_glomeruli if isinstance(num_glomeruli, int) else list(num_glomeruli)
    tiffs: list[Path] = []
    todo: list[tuple[Path, dict[str, Any]]] = []
    for k in range(num_slides):
        description = {
            "generator": GENERATOR,
            "version": VERSION,
            "seed": seed,
            "slide": k,
            "size_px": size_px,
            "mpp": float(mpp),
            "num_glomeruli": count,
            "stain": stain,
        }
        tiffs.append(out_dir / f"slide_{k:03d}.tiff")
        if not _is_done(tiffs[-1], tiffs[-1].with_suffix(".geojson"), description):
            todo.append((tiffs[-1], description))

    with tqdm(total=len(todo), desc="slides", disable=not progress) as bar:
        if workers == 1 or len(todo) < 2:
            for job in todo:
                _make_slide(*job)
                bar.update()
            return tiffs
        # Not fork: libvips keeps threads, which a forked child would lack.
        with ProcessPoolExecutor(
            min(workers, len(todo)), mp_context=get_context("spawn"), initializer=_one_thread
        ) as pool:
            futures = [pool.submit(_make_slide, *job) for job in todo]
            try:
                for future in as_completed(futures):
                    future.result()
                    bar.update()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return tiffs
