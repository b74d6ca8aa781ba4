"""What `make soak` tries with 200 slow connections, with fewer and shorter."""

import sys

import pytest
from soak import slow_clients

FEWER = "from mhkd.viewer import connections as c; c.IDLE_S, c.MAX_CONNECTIONS = 2, 20"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_an_honest_client_is_served_beside_slow_ones_whose_threads_and_files_come_back(tmp_path):
    outcome, figures = slow_clients.check("mixed", tmp_path, 60, 1, FEWER)
    assert outcome == "served" and figures["threads"][1] > figures["threads"][0] + 10
