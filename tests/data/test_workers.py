"""A DataLoader's workers, and what they note for others to see."""

from mhkd.data.loader import MappedImages
from mhkd.data.workers import WatchedMapper

import pytest
from torch.utils.data import DataLoader


def file_name(entry):
    return entry["file_name"]


@pytest.mark.slow
def test_workers_that_begin_as_new_processes_read_and_are_seen_too():
    """As those of one of several processes are, and all on some systems."""
    watched = WatchedMapper(file_name, 1)
    images = MappedImages([{"file_name": "a.png"}, {"file_name": "b.png"}], watched)
    loader = DataLoader(images, num_workers=1, multiprocessing_context="spawn", collate_fn=list)
    assert list(loader) == [["a.png"], ["b.png"]]
    assert watched.file_of(watched.pids[0]) == "b.png" and watched.pids[0]
