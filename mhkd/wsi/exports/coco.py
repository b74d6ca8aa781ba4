"""COCO results, which pycocotools' ``loadRes`` reads."""


def coco_results(detections, image_id):
    """Args:
        detections (Detections): in base pixels.
        image_id (int): of the slide.

    Returns:
        list[dict]: category ids count from 1 in the order of the classes; boxes are XYWH.
    """
    return [
        {
            "image_id": image_id,
            "category_id": c + 1,
            "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
            "score": score,
        }
        for (x0, y0, x1, y1), score, c in rows(detections)
    ]


def rows(detections):
    """Box (x0, y0, x1, y1), score and class of each detection, as Python numbers that JSON writes short."""
    scores = [round(s, 6) for s in detections.scores.tolist()]
    return zip(detections.boxes_px.tolist(), scores, detections.classes.tolist())
