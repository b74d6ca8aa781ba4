"""Folders as ``mhkd detect`` leaves them, with detections of one's own choice."""

import json
from pathlib import Path

from mhkd.slide_detection.exports import slide_image_id

import shapely


def write_result(
    out, slide_file, boxes_px, scores, classes, class_names=("normal", "sclerotic"),
    *, keep_from_score=0.05, score_threshold=0.5, tissue_mm2=4.0, slide_mpp=None, size_px=None, name=None,
    outlines=None, **more,
):  # fmt: skip
    """One finished slide.

    Args:
        out (Path): the folder of all slides.
        slide_file (str or Path): slide; it need not exist.
        boxes_px (list): XYXY in base pixels.
        scores (list[float]): of each box.
        classes (list[int]): of each box, index into ``class_names``.
        name (str, optional): of the folder; default: as the slide.
        outlines (list, optional): of each box, shapely's Polygon in base pixels.
        more: further content of run.json.

    Returns:
        Path: its folder.
    """
    folder = Path(out) / (name or Path(slide_file).name)
    folder.mkdir(parents=True)
    image_id = slide_image_id(folder.name)
    results = [
        {"image_id": image_id, "category_id": c + 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": s}
        for (x0, y0, x1, y1), s, c in zip(boxes_px, scores, classes, strict=True)
    ]
    for result, outline in zip(results, outlines or (), strict=False):
        result["segmentation"] = [shapely.get_coordinates(outline).ravel().tolist()]
    summary = {"slide_file": str(slide_file), "glomeruli": len(results), "tissue_mm2": tissue_mm2}
    run = {
        "slide_file": str(Path(slide_file).absolute()),
        "classes": list(class_names),
        "image_id": image_id,
        "parameters": {
            "keep_from_score": keep_from_score, "score_threshold": score_threshold, "slide_mpp": slide_mpp
        },
        **more,
    }  # fmt: skip
    if size_px:
        run["size_px"] = list(size_px)
    for name, content in (
        ("coco_instances_results.json", results), ("summary.json", summary), ("run.json", run)
    ):  # fmt: skip
        (folder / name).write_text(json.dumps(content))
    return folder
