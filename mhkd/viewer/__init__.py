"""A local web page to look at detections on slides."""
