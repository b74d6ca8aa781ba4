"""What `make soak` asks of all commands, of a few: nothing is connected to."""

import os
import socket
import subprocess
import sys

import pytest
from soak import connections

STRACE = """\
12 socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 3
12 connect(3, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT (No such file or directory)
12 sendto(3, [...], 20, 0, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 20
12 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.1")}, 16) = 0
13 connect(4, {sa_family=AF_INET6, sin6_port=htons(443), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr)}, 28 <unfinished ...>
13 sendto(4, "x", 1, MSG_NOSIGNAL, {sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("192.0.2.2")}, 16) = 1
13 bind(5, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
13 getsockname(5, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("192.0.2.3")}, [16]) = 0
"""  # noqa: E501


def test_what_strace_writes_is_read():
    expected = ["connect 192.0.2.1", "connect 2001:db8::1", "sendto 192.0.2.2", "bind 127.0.0.1"]
    assert connections.addresses(STRACE.splitlines()) == expected


def test_onnxruntime_sends_nothing_to_its_maker():
    """Its wheels would, from threads of their own, which `make soak` sees by strace."""
    unset = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    told = "import mhkd, sys, os; print('onnxruntime' in sys.modules, os.environ['ORT_DISABLE_TELEMETRY'])"
    run = subprocess.run([sys.executable, "-c", told], env=unset, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "1"]


@pytest.mark.slow
def test_a_program_that_connects_is_noticed(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        trace = connections.Trace(tmp_path, by_strace=False)
        connect = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))"
        trace.run(
            "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {connect!r}], check=True)"
        )
        trace.run("-c", "import socket; socket.create_server(('127.0.0.1', 0))")
    assert trace.reached() == ["lookup 127.0.0.1", "connect 127.0.0.1"]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["page", "file"])
def test_nothing_is_connected_to(case, tmp_path):
    trace = connections.Trace(tmp_path, by_strace=False)
    connections.CASES[case](trace, tmp_path)
    assert trace.programs and trace.reached() == []
