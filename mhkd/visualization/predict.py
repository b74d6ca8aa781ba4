"""What a trained student finds on a dataset, as pictures; and a training's curves."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Instances
from torch import nn

from ..config import load_cfg
from ..data.mapper import PairedResolutionMapper
from ..data.registrar import ensure_registered
from ..engine.exported import exported_cfg, load_exported
from ..evaluation.report import read_stage
from ..slides.views import read_view
from .curves import plot_curves
from .overlay import write_overlays


def test_sets(config_file: Path) -> list[str]:
    """DATASETS.TEST of a config."""
    return list(load_cfg(config_file).DATASETS.TEST)


def predictor(cfg: CfgNode, network: nn.Module, view: str = "lr") -> Callable[[dict], Instances]:
    """A function from a dataset dict to detections in its HR pixels, on the CPU."""
    mapper = PairedResolutionMapper(cfg, False, view=view)

    @torch.no_grad()
    def predict(entry: dict) -> Instances:
        return network([mapper(entry)])[0]["instances"].to("cpu")

    return predict


def overlay_dataset(
    student: Path,
    dataset: str,
    out: Path,
    score_threshold: float = 0.5,
    limit: int | None = None,
    device: str = "",
) -> list[Path]:
    """Write one picture per image of ``dataset``; see :func:`mhkd.visualization.write_overlays`.

    Raises:
        InputError: no such dataset or student, or one of other classes.
    """
    cfg = exported_cfg(student, device)
    ensure_registered([dataset])
    entries = DatasetCatalog.get(dataset)
    classes = list(MetadataCatalog.get(dataset).thing_classes)
    network = load_exported(cfg, classes)
    return write_overlays(
        predictor(cfg, network),
        entries,
        classes,
        out,
        read_view,
        cfg.INPUT.LR_FACTOR,
        cfg.INPUT.LR_FILTER,
        score_threshold,
        limit,
    )


def draw_curves(runs: dict[str, Path], out: Path) -> Path:
    """Curves of one or more trainings: name -> OUTPUT_DIR."""
    names = {0: "teacher"}
    for folder in runs.values():
        for report in sorted(Path(folder).glob("*/stage.json")):
            position, name = read_stage(report)["step"].split("_", 1)
            names.setdefault(int(position), name)
    return plot_curves({k: Path(v) / "metrics.json" for k, v in runs.items()}, out, names)


def name_runs(folders: Iterable[Path]) -> dict[str, Path]:
    """Each folder once, under as many of its path's last parts as tell all of them apart."""
    paths = {folder.resolve(): folder for folder in folders}
    for count in range(1, max(len(p.parts) for p in paths) + 1):
        named = {"/".join(p.parts[-count:]): folder for p, folder in paths.items()}
        if len(named) == len(paths):
            break
    return named
