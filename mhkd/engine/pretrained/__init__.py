"""Weights that others trained, ImageNet's or COCO's, for a teacher to start from."""
