"""What was found on a slide, in the formats of the tools that people use."""

from .coco_results import slide_image_id
from .outputs import FILES, write_outputs
from .summary import summarize, write_summary_csv

__all__ = ["FILES", "slide_image_id", "summarize", "write_outputs", "write_summary_csv"]
