"""QuPath's GeoJSON (0.4 and later: ids are UUIDs, measurements a map from name to number).

The objects are annotations, not QuPath's detections: those cannot be edited there, and what a pathologist
has corrected should be good for training.
"""

import uuid
from typing import Any

from ...evaluation.detections import Detections
from ...palette import class_colors
from .coco_results import rows
from .measures import areas_um, sizes_um

_NAMESPACE = uuid.UUID("0c9f6a52-6f3c-5d0e-8a57-3f7f2c1d9b64")  # any fixed one


def qupath_geojson(
    detections: Detections, mpp_xy: tuple[float, float], slide_name: str, what: str = "Glomerulus"
) -> dict[str, Any]:
    """Detections as a FeatureCollection of annotation objects, outlines or else boxes; a grade is QuPath's
    metadata.

    Args:
        detections: in base pixels.
        mpp_xy: micrometres per base pixel along x and y.
        slide_name: which the ids depend on, so that those of different slides differ.
        what: they are, before their numbers.
    """
    colors = class_colors(detections.class_names)
    widths, heights, diameters = sizes_um(detections, mpp_xy).tolist()
    areas = None if detections.outlines is None else areas_um(detections, mpp_xy).T.tolist()
    features = []
    for number, ((_, score, c), ring, grade) in enumerate(
        zip(rows(detections), detections.rings(), detections.graded()), 1
    ):
        name = detections.class_names[c]
        key = f"{slide_name} {number} {ring} {score} {name}"
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(_NAMESPACE, key)),
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {
                    "objectType": "annotation",
                    "name": f"{what} {number}",
                    "classification": {"name": name, "color": list(colors[name])},
                    "isLocked": False,
                    "measurements": {
                        "Score": score,
                        "Width um": widths[number - 1],
                        "Height um": heights[number - 1],
                        "Diameter um": diameters[number - 1],
                        **(dict(zip(("Area um2", "Mean diameter um"), areas[number - 1])) if areas else {}),
                        **({"Grade probability": grade[1]} if grade else {}),
                    },
                    **({"metadata": {"Grade": grade[0]}} if grade else {}),
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}
