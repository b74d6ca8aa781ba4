"""What was found on a slide, in the formats of the tools that people use."""

from mhkd.wsi.exports.coco import slide_image_id
from mhkd.wsi.exports.colors import class_colors
from mhkd.wsi.exports.outputs import FILES, write_outputs
from mhkd.wsi.exports.summary import summarize, write_summary_csv

__all__ = ["FILES", "class_colors", "slide_image_id", "summarize", "write_outputs", "write_summary_csv"]
