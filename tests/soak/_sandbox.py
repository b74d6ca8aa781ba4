"""Functions in a process that is watched: what it opens, starts and sends, how long, with how much memory.

The folder of a case has three folders: ``given``, what is read, where the process stands; ``out``, for what
it writes; and ``outside``, which nobody may open. Python's audit events tell what Python opens, starts and
connects to; inotify tells what libraries open outside.
"""

import ctypes
import gc
import hashlib
import json
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import traceback

GIVEN, OUT, OUTSIDE, OWN_TEMPORARY = "given", "out", "outside", "tmp"
MOST_CPU_S, MOST_S = 10, 150  # of one case; the second also counts what other processes of the machine take
MOST_BYTES = 2**30  # above the start
_STARTS = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn")
_SENDS = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.bind",
    "socket.sendto",
    "urllib.Request",
    "webbrowser.open",
)
_CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.truncate",
)
_IN_OPEN = 0x20
CLOSED = "closed"
_SYSTEM = ("/usr/", "/lib", "/proc/", "/sys/", "/dev/null", "/dev/urandom", "/dev/shm/", "/etc/")


class Broken(AssertionError):
    """A promise is broken."""


def write_canaries(folder):
    """Files outside, which nothing in a case needs."""
    os.makedirs(os.path.join(folder, OUTSIDE))
    for name in ("secret.txt", "secret.yaml", "secret.png", "weights.bin"):
        with open(os.path.join(folder, OUTSIDE, name), "w") as f:
            f.write("SEED: 4711\n" * 10)


def run_watched(functions, folder, reader_allowed=False, names_files=False):
    """What functions return, JSON values, and the most memory that they took above the start.

    Args:
        functions: folder of a case -> what is called, one after the other, in one child of this process,
            which stands in ``given`` of that folder.
        folder: that holds those folders, and nothing else that anyone may write to.
        reader_allowed: mhkd's own reader of slides may be started.
        names_files: files anywhere may be read, as the user's own file names them; none may be written.

    Raises:
        Broken: whatever else happened.
    """
    outside = [os.path.join(case, OUTSIDE) for case in functions]
    before = [_digest(place) for place in outside]
    watch = _watch(outside)
    answer = os.path.join(folder, "answer.json")
    gc.freeze()  # what is collected is copied
    pid = os.fork()
    if pid == 0:
        _child(functions, folder, answer, _watcher(folder, reader_allowed, names_files))
    status, usage = _wait(pid)
    with os.fdopen(watch, "rb", buffering=0) as events:
        if select.select([events], [], [], 0)[0] and not names_files:
            raise Broken("a file outside was opened")
    if status is None:
        raise Broken(f"it took more than {MOST_S} s")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            raise Broken(f"it took more than {MOST_CPU_S} s of a processor")
        raise Broken(f"the process was ended by {signal.Signals(number).name}")
    if not os.path.exists(answer):
        raise Broken(f"the process ended with the status {os.waitstatus_to_exitcode(status)}")
    with open(answer) as f:
        found = json.load(f)
    os.remove(answer)
    if "broken" in found:
        raise Broken(found["broken"])
    more = usage.ru_maxrss * 1024 - found["start_bytes"]
    if more > MOST_BYTES:
        raise Broken(f"it took {more / 2**20:.0f} MiB")
    if [_digest(place) for place in outside] != before:
        raise Broken("a file outside was changed")
    written = (n for case in functions for _, _, names in os.walk(os.path.join(case, OUT)) for n in names)
    if left := [name for name in written if name.endswith(".tmp")]:
        raise Broken(f"half written: {left}")
    return found["results"], max(0, more)


def _child(functions, folder, answer, watcher):
    status = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.environ["TMPDIR"] = tempfile.tempdir = os.path.join(folder, OWN_TEMPORARY)
        os.makedirs(tempfile.tempdir, exist_ok=True)
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + MOST_CPU_S, 10**6))
        content = {"start_bytes": _resident(), "results": []}
        watch, events = watcher
        sys.addaudithook(watch)
        try:
            for case, function in functions.items():
                os.chdir(os.path.join(case, GIVEN))
                content["results"].append(function())
                if events:
                    raise Broken("it did " + "; ".join(events[:3]))
        except Broken as e:
            content = {"broken": str(e)}
        except BaseException:
            content = {"broken": traceback.format_exc()}
        events.append(CLOSED)
        with open(answer + ".new", "w") as f:
            json.dump(content, f)
        os.replace(answer + ".new", answer)
        status = 0
    finally:
        os._exit(status)


def _watcher(folder, reader_allowed, names_files):
    """The hook, and the list of what it sees that may not be."""
    events = []
    inside = os.path.realpath(folder) + os.sep
    outside = f"{os.sep}{OUTSIDE}{os.sep}"
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
    readable = (
        inside,
        here,
        sys.prefix,
        sys.base_prefix,
        os.path.expanduser("~/.cache"),
        *_SYSTEM,
        *(os.path.realpath(p) for p in sys.path if p),
    )

    def watch(event, args):
        if events[-1:] == [CLOSED]:
            return
        if event == "open":
            path, mode, flags = args
            if not isinstance(path, (str, bytes)):
                return
            real = os.path.realpath(os.fsdecode(path))
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
            if names_files and not writes:
                return
            if outside in real or not real.startswith(inside if writes else readable):
                if not (writes and real in ("/dev/null", os.path.devnull)):
                    events.append(f"open {real} for {'writing' if writes else 'reading'}")
        elif event == "subprocess.Popen":
            if not (reader_allowed and args[0] == sys.executable and "reader_process" in str(args[1])):
                events.append(f"start {args[1]}"[:200])
        elif event in _STARTS or event in _SENDS:
            if event == "socket.connect" and getattr(args[0], "family", 0) == socket.AF_UNIX:
                return
            events.append(f"{event} {args[-1]}"[:200])
        elif event in _CHANGES:
            real = os.path.realpath(os.fsdecode(args[0])) if isinstance(args[0], (str, bytes)) else inside
            if outside in real or not (real + os.sep).startswith(inside):
                events.append(f"{event} {real}")

    return watch, events


def _wait(pid):
    """Status, None where it had to be ended, and usage."""
    fd = os.pidfd_open(pid)
    in_time = bool(select.select([fd], [], [], MOST_S)[0])
    os.close(fd)
    if not in_time:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return status if in_time else None, usage


def _resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def _watch(folders):
    """A descriptor that can be read once a file in one of the folders was opened."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    for path in (os.path.join(folder, name) for folder in folders for name in os.listdir(folder)):
        if libc.inotify_add_watch(fd, os.fsencode(path), _IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify")
    return fd


def _digest(folder):
    digest = hashlib.sha256()
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        digest.update(repr((name, os.stat(path).st_mtime_ns, os.stat(path).st_size)).encode())
    return digest.hexdigest()
