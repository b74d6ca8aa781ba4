import pytest
from killed_training import train
from support import DISKS, tiny_config


@pytest.fixture(scope="module")
def trained(tmp_path_factory, disks_root):
    """One uninterrupted training of all steps, shared by the tests that only look at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(disks_root))
        cfg = tiny_config(tmp_path_factory.mktemp("trained"), DISKS)
        train(cfg)
        yield cfg
