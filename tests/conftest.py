import pytest
import torch
from support import DISKS, SHARED_DATA, tiny_config, write_disks


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def tiny_cfg(tmp_path):
    return tiny_config(tmp_path / "output")


@pytest.fixture
def shared_data():
    """Real kidney regions and slides, which do not come with the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA


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
