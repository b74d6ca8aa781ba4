"""Datasets of a test's own."""

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The empty folder that DETECTRON2_DATASETS names; what other tests have registered is out of sight."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    for catalog in (DatasetCatalog, MetadataCatalog):
        monkeypatch.setattr(catalog, "data", {})
    return tmp_path
