"""Where a classifier looks: Grad-CAMs of the teacher over HR, of the student over LR (del Amor, Fig. 3)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from matplotlib import colormaps
from PIL import Image
from tqdm import tqdm

from ..data.registrar import ensure_registered
from ..engine.exported import exported_cfg, load_exported
from ..enlarge import to_tensor
from ..errors import InputError
from ..files import make_folder, replacing
from ..losses import grad_cam
from ..palette import FALSE_POSITIVE, FOUND
from ..slides.views import read_view
from .panel import compose_pair

PANEL_PX = 480  # width of an image in a picture
OPACITY = 0.5  # of the map over the image
COLOURS = "turbo"


@torch.no_grad()
def attention(network: Any, image_rgb: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """What a classifier says of an image, and where it looks for a class.

    Args:
        network: a :class:`mhkd.modeling.ResNetClassifier` of RGB images.
        image_rgb: uint8, shape (h, w, 3).
        label: the class whose map is asked for.

    Returns:
        Probabilities, shape (K,); and the Grad-CAM with positive gradient weights (AT+), from 0 to 1, of the
        shape of the network's last map: 0 everywhere where nothing speaks for the class.
    """
    conv, logits = network.look(to_tensor(image_rgb)[None])
    cam = grad_cam(conv, network.head.weight[label][None, None].relu())[0, 0].cpu().numpy()
    return logits[0].softmax(0).cpu().numpy(), cam / max(float(cam.max()), 1e-12)


def draw_attention(image_rgb: np.ndarray, cam: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image, and under it the same with a map over it.

    Args:
        image_rgb: uint8, shape (h, w, 3).
        cam: from 0 to 1, of any smaller size; bilinear between its cells.
        size: width and height that the image is brought to.

    Returns:
        uint8 RGB, shape (2 * height, width, 3).
    """
    image = np.asarray(Image.fromarray(image_rgb).resize(size, Image.Resampling.BILINEAR))
    enlarged = Image.fromarray(cam.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    heat = colormaps[COLOURS](np.asarray(enlarged))[..., :3] * 255
    over = (1 - OPACITY) * image + OPACITY * heat
    return np.vstack([image, over.round().astype(np.uint8)])


def attention_dataset(
    student: Path,
    dataset: str,
    out: Path,
    teacher: Path | None = None,
    limit: int | None = None,
    device: str = "",
) -> list[Path]:
    """Write a picture for images of ``dataset``: HR and the teacher's map beside LR and the student's.

    Maps are of the annotated class.

    Args:
        student: folder of an exported student.
        teacher: of its teacher, OUTPUT_DIR/0_teacher/teacher; None: the student looks at HR's place too.
        limit: at most so many, spread over the dataset.

    Returns:
        ``<out>/<image name>_<image_id>.png``.

    Raises:
        InputError: no such dataset, student or teacher, or of other classes.
    """
    ensure_registered([dataset])
    entries = DatasetCatalog.get(dataset)
    names = list(MetadataCatalog.get(dataset).thing_classes)
    if any("label" not in e for e in entries[:1]):
        raise InputError(f"{dataset}: its images have no class, which maps are of: name another dataset")
    cfgs = [exported_cfg(folder, device) for folder in (teacher, student) if folder]
    networks = [load_exported(cfg, names) for cfg in cfgs]
    factor, lr_filter = cfgs[-1].INPUT.LR_FACTOR, cfgs[-1].INPUT.LR_FILTER
    views = (("hr", "teacher on HR"), ("lr", f"student on LR (1/{factor})"))[-len(networks) :]
    step = max(1, -(-len(entries) // (limit or len(entries))))
    make_folder(out)
    paths = []
    for entry in tqdm(entries[::step], desc="overlays", unit="image"):
        panels, captions, legend = [], [], []
        size = PANEL_PX, round(PANEL_PX * entry["height"] / entry["width"])
        for (view, who), cfg, network in zip(views, cfgs, networks):
            image = read_view(entry, view, factor, lr_filter)
            channels = image if cfg.INPUT.FORMAT == "RGB" else image[:, :, ::-1]
            said, cam = attention(network, channels, entry["label"])
            panels.append(draw_attention(image, cam, size))
            captions.append(f"{who}: {names[entry['label']]} {said[entry['label']]:.2f}")
            legend.append(_verdict(who, said, entry["label"], names))
        name = Path(entry["file_name"]).stem
        path = Path(out) / f"{name}_{entry['image_id']}.png"
        picture = compose_pair(panels, f"{name}: {names[entry['label']]}", captions, legend)
        with replacing(path) as temporary:
            Image.fromarray(picture).save(temporary, format="PNG")
        paths.append(path)
    return paths


def _verdict(who: str, said: np.ndarray, label: int, names: Sequence[str]) -> tuple[Any, str]:
    """Blue where the class is right, red where it is not."""
    best = int(said.argmax())
    return FOUND if best == label else FALSE_POSITIVE, f"{who.split()[0]}: {names[best]} {said[best]:.2f}"
