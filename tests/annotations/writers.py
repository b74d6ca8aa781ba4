"""Writes the same shapes in each format, as the tools do.

Args of every writer: the path, and a list of (polygon or multi-polygon, class name).
"""

import csv
import json
import re
from xml.sax.saxutils import quoteattr

import numpy as np
import pyvips
from shapely.geometry import Polygon, mapping
from skimage.draw import polygon2mask


def parts(shapes):
    """Shapes of one polygon each: what formats without multi-polygons can say."""
    return [(p, n) for geometry, n in shapes for p in getattr(geometry, "geoms", [geometry])]


def draw(geometry, size_px):
    """bool mask (h, w): pixels whose middle lies in the geometry."""
    mask = np.zeros(size_px[::-1], bool)
    for p in getattr(geometry, "geoms", [geometry]):
        for sign, ring in [(True, p.exterior)] + [(False, r) for r in p.interiors]:
            yx = np.asarray(ring.coords)[:-1, ::-1] - 0.5
            mask[polygon2mask(mask.shape, yx)] = sign
    return mask


def qupath(path, shapes):
    features = [
        {
            "type": "Feature",
            "id": str(i),
            "geometry": json.loads(json.dumps(mapping(geometry))),
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }
        for i, (geometry, name) in enumerate(shapes)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def hubmap_json(path, shapes):
    qupath(path, shapes)
    path.write_text(json.dumps(json.loads(path.read_text())["features"]))


def hubmap_csv(path, masks):
    """Args: path, {slide id: mask}. 1-based start and length, down the columns."""
    with open(path, "w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["id", "encoding"])
        for slide, mask in masks.items():
            flat = np.concatenate([[0], mask.ravel(order="F"), [0]])
            ends = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
            ends[1::2] -= ends[::2]
            writer.writerow([slide, " ".join(map(str, ends))])


def aperio(path, shapes):
    layers = {}
    for geometry, name in parts(shapes):
        layers.setdefault(name, []).append(geometry)
    xml = ['<?xml version="1.0" encoding="UTF-8"?>', '<Annotations MicronsPerPixel="0.25">']
    for i, (name, geometries) in enumerate(layers.items(), 1):
        xml.append(f"<Annotation Id='{i}' Name={quoteattr(name)} LineColor='65280'>")
        xml.append("<Attributes><Attribute Name='Description' Id='0' Value=''/></Attributes>")
        xml.append("<Regions><RegionAttributeHeaders/>")
        for g in geometries:
            for negative, ring in [(0, g.exterior)] + [(1, r) for r in g.interiors]:
                xml.append(f"<Region Id='1' Type='0' Text='' NegativeROA='{negative}'><Vertices>")
                xml += [f"<Vertex X='{x}' Y='{y}' Z='0'/>" for x, y in ring.coords]
                xml.append("</Vertices></Region>")
        xml.append("</Regions></Annotation>")
    path.write_text("\n".join(xml + ["</Annotations>"]))


def halo(path, shapes):
    """As of ImageScope, but for the names of types and points, and no attributes."""
    aperio(path, shapes)
    text = path.read_text().replace("<Vertex X", "<V X").replace("Type='0' Text=''", "Type='Polygon'")
    path.write_text(re.sub(r"<Attributes>.*?</Attributes>|<RegionAttributeHeaders/>", "", text))


def asap(path, shapes):
    """Outlines only: the format has no holes."""
    xml = ["<?xml version='1.0'?>", "<ASAP_Annotations><Annotations>"]
    for i, (geometry, name) in enumerate(parts(shapes)):
        box = geometry.equals(geometry.envelope)
        xml.append(
            f"<Annotation Name='Annotation {i}' Type='{'Rectangle' if box else 'Polygon'}' "
            f"PartOfGroup={quoteattr(name)} Color='#F4FA58'><Coordinates>"
        )
        ring = geometry.exterior.coords[:-1]
        xml += [f"<Coordinate Order='{k}' X='{x}' Y='{y}'/>" for k, (x, y) in enumerate(ring)]
        xml.append("</Coordinates></Annotation>")
    xml.append("</Annotations><AnnotationGroups>")
    xml += [f"<Group Name={quoteattr(n)} PartOfGroup='None'/>" for n in {n for _, n in shapes}]
    path.write_text("".join(xml + ["</AnnotationGroups></ASAP_Annotations>"]))


def dsa(path, shapes):
    elements = []
    for geometry, name in parts(shapes):
        x0, y0, x1, y1 = geometry.bounds
        element = {"group": name, "label": {"value": name}}
        if geometry.equals(geometry.envelope):
            element |= {
                "type": "rectangle",
                "center": [(x0 + x1) / 2, (y0 + y1) / 2, 0],
                "width": x1 - x0,
                "height": y1 - y0,
                "rotation": 0,
            }
        else:
            rings = [[[x, y, 0] for x, y in r.coords[:-1]] for r in (geometry.exterior, *geometry.interiors)]
            element |= {
                "type": "polyline",
                "closed": True,
                "points": rings[0],
                "holes": rings[1:],
            }
        elements.append(element)
    path.write_text(json.dumps({"annotation": {"name": "glomeruli", "elements": elements}}))


def dsa_geojson(path, shapes):
    """As the server converts its own JSON: the annotation is in the first feature."""
    features = []
    for geometry, name in parts(shapes):
        box = geometry.equals(geometry.envelope)
        x0, y0, x1, y1 = geometry.bounds
        rings = (
            [[(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]] if box else mapping(geometry)["coordinates"]
        )
        properties = {"group": name, "label": {"value": "7"}, "type": "rectangle" if box else "polyline"}
        if box:
            properties |= {"width": x1 - x0, "height": y1 - y0, "rotation": 0}
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[[x, y, 0] for x, y in r] for r in rings]},
                "properties": properties,
            }
        )
    features[0]["properties"]["annotation"] = {"name": "glomeruli", "attributes": {}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def coco(path, shapes, size_px, file_name="slide.svs"):
    """Polygons; with holes: run-length codes."""
    names = sorted({n for _, n in shapes})
    annotations = []
    for i, (geometry, name) in enumerate(shapes):
        polygons = getattr(geometry, "geoms", [geometry])
        if any(p.interiors for p in polygons):
            flat = draw(geometry, size_px).ravel(order="F").astype(np.int8)
            ends = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
            counts = np.diff(np.concatenate([[0], ends, [len(flat)]])).tolist()
            segmentation = {"size": [size_px[1], size_px[0]], "counts": counts}
        else:
            segmentation = [np.ravel(p.exterior.coords[:-1]).tolist() for p in polygons]
        x0, y0, x1, y1 = geometry.bounds
        annotations.append(
            {
                "id": i + 1,
                "image_id": 7,
                "category_id": names.index(name) + 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "segmentation": segmentation,
                "iscrowd": 0,
            }
        )
    image = {"id": 7, "file_name": file_name, "width": size_px[0], "height": size_px[1]}
    categories = [{"id": i + 1, "name": n} for i, n in enumerate(names)]
    content = {"images": [image], "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))


def mask(path, shapes, size_px, values):
    """Args: values (dict): class name -> index, or (r, g, b)."""
    depth = 1 if isinstance(next(iter(values.values())), int) else 3
    image = np.zeros((*size_px[::-1], depth), np.uint8)
    for geometry, name in shapes:
        image[draw(geometry, size_px)] = values[name]
    pyvips.Image.new_from_array(image).write_to_file(str(path))


SIZE_PX = (900, 700)
GLOMERULUS = Polygon([(100.3, 80.2), (180.9, 90.1), (205.4, 160.7), (140.2, 199.6), (90.5, 150)])
RING = Polygon(
    [(300, 300), (420.6, 310.2), (400.4, 440.8), (290.1, 400)],
    [[(330, 340), (370, 345), (360, 380), (335, 375)]],
)
BOX = Polygon([(600, 50), (700, 50), (700, 130), (600, 130)])
