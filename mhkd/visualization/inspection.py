"""What ``mhkd inspect`` shows: a table, the warnings, size histograms and contact sheets."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tabulate import tabulate
from tqdm import tqdm

from ..data.faults import Split, Warnings
from ..data.inspect import common_unit, inspect_datasets, mpp_of, sizes, summary
from ..errors import InputError
from ..files import replacing, write_json
from ..missing import remedy
from ..slides.views import read_view
from .contact_sheet import draw_row, select_evenly, stack_rows

BARS = " ▁▂▃▄▅▆▇█"
_BINS = 24
_UNITS = {"um": "µm", "px": "px"}


def inspect(
    names: Iterable[str],
    out: Path | None = None,
    num_images: int = 6,
    lr_factor: int = 4,
    lr_filter: str = "area",
    root: str | None = None,
) -> tuple[str, list[str]]:
    """Inspect datasets and write what is found.

    Args:
        names: see :func:`mhkd.data.inspect.inspect_datasets`.
        out: folder for ``inspect.json``, ``sizes.png`` and a contact sheet
            ``<split>.png`` each; None: nothing is written.
        num_images: rows of a contact sheet; 0: none is drawn.
        lr_factor, lr_filter: see :func:`mhkd.slides.views.read_view`.
        root: folder of the datasets.

    Returns:
        The report, and the warnings in it.

    Raises:
        InputError: see :func:`mhkd.data.inspect.inspect_datasets`.
    """
    splits, warnings = inspect_datasets(names, root)
    boxes = [s for s in splits if not s.is_labelled]
    unit = common_unit(boxes)
    figures = {s.name: summary(s, unit) for s in splits}
    written: list[Path] = []
    no_histograms: str | None = None
    if out is not None:
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        if num_images > 0:
            for split in splits:
                rows = _rows(split, num_images, lr_factor, lr_filter, warnings)
                if rows:
                    written.append(out / f"{split.name}.png")
                    _save(stack_rows(rows), written[-1])
        if any(sizes(s, unit) for s in splits):
            try:
                _save(_histograms(splits, unit), out / "sizes.png")
                written.append(out / "sizes.png")
            except ModuleNotFoundError as e:
                no_histograms = remedy(e)
                if no_histograms is None:
                    raise
        written.append(out / "inspect.json")
        found = [
            {"what": kind, "count": n, "examples": warnings.examples[kind]}
            for kind, n in warnings.counts.items()
        ]
        write_json({"splits": figures, "warnings": found}, written[-1])
    lines = warnings.lines()
    labelled = {s.name: figures[s.name] for s in splits if s.is_labelled}
    parts = [
        _counts_table({s.name: figures[s.name] for s in boxes}) if boxes else "",
        _sizes_table(boxes, unit),
        *((_labels_table(labelled), _classes_table(labelled)) if labelled else ()),
    ]
    if unit == "px" and any(s.entries for s in boxes):
        parts.append("Sizes are in HR pixels: not every image records its mpp.")
    parts.append("\n".join(f"WARNING: {line}" for line in lines) or "No warnings.")
    if no_histograms:
        parts.append(f"No histograms of the sizes: {no_histograms}")
    parts.append("\n".join(map(str, written)))
    return "\n\n".join(p for p in parts if p), lines


def _counts_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    classes = list(dict.fromkeys(c for f in figures.values() for c in f["objects_by_class"]))
    rows = []
    for name, f in figures.items():
        rows.append(
            [name, f["images"], f["images_without_objects"], f["slides"], f["patients"] or "–", _mpps(f)]
            + [f["objects"], f["ignored"], *(f["objects_by_class"].get(c, 0) for c in classes)]
        )
    headers = ["split", "images", "empty", "slides", "patients", "mpp", "objects", "ignored"]
    return tabulate(rows, [*headers, *classes])


def _mpps(figures: Mapping[str, Any]) -> str:
    if figures["mpp"] is None:
        return "–"
    return "–".join(dict.fromkeys(f"{m:.4g}" for m in figures["mpp"]))


def _labels_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Of images with a class each."""

    def of(spread: Mapping[str, float] | None) -> str:
        if spread is None:
            return "–"
        return "–".join(dict.fromkeys(f"{spread[k]:g}" for k in ("min", "median", "max")))

    rows = [
        [n, f["images"], f["slides"], f["patients"] or "–", _mpps(f), of(f["width_px"]), of(f["height_px"])]
        for n, f in figures.items()
    ]
    headers = ["split", "images", "slides", "patients", "mpp", "width, px", "height, px"]
    return tabulate(rows, headers, disable_numparse=True)


def _classes_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The same, by class."""
    rows = [
        [name, c or "(none)", n["images"], f"{100 * n['images'] / max(f['images'], 1):.0f} %", n["slides"]]
        + [n["patients"] or "–"]
        for name, f in figures.items()
        for c, n in f["classes"].items()
        if n["images"]
    ]
    return tabulate(rows, ["split", "class", "images", "share", "slides", "patients"], disable_numparse=True)


def _sizes_table(splits: Sequence[Split], unit: str) -> str:
    found = [(s.name, c, v) for s in splits for c, v in sizes(s, unit).items()]
    if not found:
        return ""
    edges = _edges([v for *_, v in found])
    rows = [
        [name, c, *(f"{q:.4g}" for q in np.quantile(v, (0, 0.05, 0.5, 0.95, 1))), _bars(v, edges)]
        for name, c, v in found
    ]
    shown = f"{edges[0]:.3g} … {edges[-1]:.3g} {_UNITS[unit]}"
    headers = ["split", "class", "least", "5 %", "median", "95 %", "most", shown]
    return f"Sizes in {_UNITS[unit]}\n" + tabulate(rows, headers, disable_numparse=True)


def _bars(values: np.ndarray, edges: np.ndarray) -> str:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    heights = np.ceil(counts / max(counts.max(), 1) * (len(BARS) - 1)).astype(int)
    return "|" + "".join(BARS[h] for h in heights) + "|"


def _edges(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Of the bins: most of what there is; the few beyond count in the last one."""
    values = np.concatenate(groups)
    low, high = values.min(), min(values.max(), 3 * np.quantile(values, 0.95))
    return np.linspace(low, max(high, low * 1.001), _BINS + 1)


def _histograms(splits: Sequence[Split], unit: str) -> np.ndarray:
    """A row of histograms, one for each class, as an RGB picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # all else does without
    from matplotlib.figure import Figure

    found = {s.name: sizes(s, unit) for s in splits}
    classes = list(dict.fromkeys(c for by_class in found.values() for c in by_class))
    edges = _edges([v for by_class in found.values() for v in by_class.values()])
    figure = Figure(figsize=(4.5 * len(classes), 3.2), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(classes), squeeze=False)[0]
    for ax, c in zip(axes, classes):
        for name, by_class in found.items():
            if c in by_class:
                values = np.clip(by_class[c], edges[0], edges[-1])
                label = f"{name} ({len(values)})"
                percent = np.full(len(values), 100 / len(values))
                ax.hist(values, edges, histtype="step", linewidth=1.5, weights=percent, label=label)
        ax.set(title=c, xlabel=f"size, {_UNITS[unit]}", ylabel="% of the split's objects")
        ax.legend(fontsize="small")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def _rows(
    split: Split, num_images: int, lr_factor: int, lr_filter: str, warnings: Warnings
) -> list[np.ndarray]:
    rows = []
    chosen = select_evenly(split.entries, num_images, split.classes_in)
    for entry in tqdm(chosen, desc=f"{split.name}: contact sheet", unit="image", leave=False):
        try:
            hr, lr = (read_view(entry, v, lr_factor, lr_filter) for v in ("hr", "lr"))
        except InputError as e:
            warnings.add("images that cannot be read", e)
            continue
        title = Path(entry["file_name"]).stem
        if entry.get("slide", title) != title:
            title += f", slide {entry['slide']}"
        if "region" in entry:
            title += f" at ({entry['region']['x_px']:.0f}, {entry['region']['y_px']:.0f})"
        mpp = mpp_of(entry)
        hr_caption, lr_caption = (
            f"{view}, {image.shape[1]}x{image.shape[0]} px" + (f", {m:.3g} µm/px" if m else "")
            for view, image, m in (("HR", hr, mpp), ("LR", lr, mpp and mpp * lr_factor))
        )
        captions = hr_caption, lr_caption
        own_class = "".join(split.classes_in(entry)) if split.is_labelled else None
        rows.append(draw_row(hr, lr, entry["annotations"], split.classes, title, captions, own_class))
    return rows


def _save(picture: np.ndarray, path: Path) -> None:
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
