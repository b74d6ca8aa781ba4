import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from tiled_slides import write_slide


@pytest.fixture
def slides(tmp_path):
    """Four slides of two patients."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for k, name in enumerate(("ann_1", "ann_2", "bob_1", "bob_2")):
        write_slide(folder, name, shade=k)
    return folder


@pytest.fixture
def out(tmp_path, monkeypatch):
    """Registers what is asked for; forgets it afterwards."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    yield tmp_path / "datasets" / "tiled_set"
    for name in [n for n in DatasetCatalog if n.startswith("tiled_set")]:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
