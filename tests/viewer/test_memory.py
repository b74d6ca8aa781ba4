"""What memory the page's threads keep."""

import platform
import threading
import time
from pathlib import Path

from mhkd.synthetic.slides import write_tiff
from mhkd.viewer.connections import ARENAS

import numpy as np
import pytest
from results_folder import write_result
from soak._page_clients import Client, serving

HEAP_BYTES = 64 * 2**20  # that glibc reserves at once, where an address is divisible by it
CLIENTS = 12


@pytest.mark.slow
@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or platform.architecture()[0] != "64bit", reason="glibc's"
)
def test_many_clients_share_few_arenas(tmp_path):
    write_tiff(tmp_path / "a.tiff", np.full((600, 600, 3), 200, np.uint8), 1.0, "grey")
    write_result(tmp_path / "out", tmp_path / "a.tiff", [[10, 10, 60, 60]], [0.9], [0], size_px=(600, 600))
    go_on = threading.Event()
    go_on.set()
    with serving(tmp_path / "out") as (process, port):
        clients = [Client(port, seed, go_on) for seed in range(CLIENTS)]
        until = time.monotonic() + 60
        while min(client.answers for client in clients) < 5 and time.monotonic() < until:
            time.sleep(0.05)
        heaps = num_heaps(process.pid)
        for client in clients:
            client.end()
    assert min(client.answers for client in clients) >= 5
    assert heaps < ARENAS  # the first arena is not one of them


def num_heaps(pid):
    """Mappings of which a part is reserved and not yet used, from such an address on."""
    maps = [line.split()[:2] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    spans = [(*(int(n, 16) for n in span.split("-")), rights) for span, rights in maps]
    return sum(
        begin % HEAP_BYTES == 0 and rights.startswith("rw") and (end, "---p") == (following[0], following[2])
        for (begin, end, rights), following in zip(spans, spans[1:])
    )
