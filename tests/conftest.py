import pytest
import torch
from one_level_slide import draw_one_level_slide
from support import DISKS, SHARED_DATA, tiny_config, write_disks


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def tiny_cfg(tmp_path):
    return tiny_config(tmp_path / "output")


@pytest.fixture
def shared_data():
    """Real kidney regions and slides, which do not come with the project.

    A test that asks for it has a drawn one of the kind, which its docstring names.
    """
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def drawn_one_level_slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("one_level") / "drawn.tiff"
    draw_one_level_slide(path)
    return path


@pytest.fixture(params=["drawn", "real"])
def one_level_slide(request):
    """A slide of one level, 2220 x 2967 px of 0.499 um: drawn, and a real one where it is there."""
    if request.param == "drawn":
        return request.getfixturevalue("drawn_one_level_slide")
    return request.getfixturevalue("shared_data") / "slides" / "cmu-1-small-region.svs"


@pytest.fixture(scope="session")
def disks_root(tmp_path_factory):
    """Root of the dataset "disks", a name that no other fixture uses."""
    root = tmp_path_factory.mktemp("datasets")
    write_disks(root)
    return root


@pytest.fixture
def disks_cfg(tmp_path, disks_root, monkeypatch):
    """The tiny networks on "disks"."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(disks_root))
    return tiny_config(tmp_path / "output", DISKS)
