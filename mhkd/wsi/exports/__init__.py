"""What was found on a slide, in the formats of the tools that people use."""

from mhkd.wsi.exports.colors import class_colors
from mhkd.wsi.exports.outputs import write_outputs
from mhkd.wsi.exports.summary import summarize, write_summary_csv

__all__ = ["class_colors", "summarize", "write_outputs", "write_summary_csv"]
