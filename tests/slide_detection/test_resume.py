"""KILLS=20 pytest tests/slide_detection/test_resume.py: so many kills, at other moments with another SEED."""

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
from concurrent.futures import ProcessPoolExecutor

import mhkd  # noqa: F401  (first)
from mhkd.errors import InputError
from mhkd.slide_detection.options import DetectOptions
from mhkd.slide_detection.run import detect_slide

import pytest
from blob_student import blob_student, detect_disks, write_disks

pytestmark = pytest.mark.slow

KILLS, SEED = int(os.environ.get("KILLS", 3)), int(os.environ.get("SEED", 0))
OUTPUTS = ("coco_instances_results.json", "detections.geojson", "overview.png", "summary.json")


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    return write_disks(tmp_path_factory.mktemp("slides") / "disks.tiff", (3000, 3000))[0]


@pytest.fixture(scope="module")
def processes():
    """Processes that begin with everything imported, and without this one's threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mhkd", "blob_student"])
    return context


def contents(out):
    """Bytes of each file; of run.json what is not a time or a command."""
    found = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        found[str(path.relative_to(out))] = path.read_bytes()
        if path.name == "run.json":
            run = json.loads(path.read_text())
            found[str(path.relative_to(out))] = {k: run[k] for k in run if k not in ("timings", "command")}
    return found


def detect_until(path, out, journal_bytes):
    """The kernel kills this process in the middle of the write that would make a file longer."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    detect_disks(path, out, max_file_bytes=journal_bytes)


def kill_when(process, condition):
    """kill -9 as soon as the condition holds."""
    process.start()
    while process.is_alive() and not condition():
        process.join(0.001)
    process.kill()
    process.join()


def test_killed_at_random_moments_it_ends_with_the_same_files(disks, processes, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "killed"
    detect_disks(disks, whole)
    batches = json.loads((whole / "disks.tiff" / "run.json").read_text())["timings"]["batches"]
    journal = out / "disks.tiff" / ".work" / "tiles.jsonl"
    rng = random.Random(SEED)
    in_journal = max(1, 2 * KILLS // 3)
    previous = 0
    for journal_bytes in sorted(rng.sample(range(1, batches * 250), in_journal)):
        process = processes.Process(target=detect_until, args=(disks, out, journal_bytes))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGXFSZ
        size = journal.stat().st_size
        assert previous <= size <= journal_bytes  # nothing that was finished is done again
        previous = size
    for name in (rng.choice(OUTPUTS) for _ in range(KILLS - in_journal)):
        shutil.rmtree(journal.with_name("results"), ignore_errors=True)
        written = journal.with_name("results") / name
        kill_when(processes.Process(target=detect_disks, args=(disks, out)), written.exists)
        if not journal.exists():  # it has come to its end before it was killed
            break
    detect_disks(disks, out)
    timings = json.loads((out / "disks.tiff" / "run.json").read_text())["timings"]
    assert timings["batches"] == batches and timings["batches_of_earlier_runs"] > 0
    assert contents(out) == contents(whole)


def test_a_finished_slide_is_left_as_it_is_until_something_else_is_asked_for(tmp_path):
    disks = write_disks(tmp_path / "small.tiff", (1500, 1200))[0]
    run = tmp_path / "out" / "small.tiff" / "run.json"

    def detect(student, **options):
        summary = detect_slide(disks, tmp_path / "out", student, DetectOptions(**options), progress=False)
        return summary, run.stat().st_mtime_ns

    summary, written = detect(blob_student())
    assert detect(blob_student()) == (summary, written)
    assert detect(blob_student(), score_threshold=0.99)[0]["glomeruli"] == 0
    assert detect(blob_student(checksum="other weights"))[0] == summary


def test_full_disk_keeps_what_is_finished(disks, processes, tmp_path):
    with ProcessPoolExecutor(1, mp_context=processes) as pool:
        future = pool.submit(detect_disks, disks, tmp_path, max_file_bytes=2000)
        with pytest.raises(InputError, match="disks.tiff.*cannot be written.*the same command goes on"):
            future.result()
    kept = (tmp_path / "disks.tiff" / ".work" / "tiles.jsonl").stat().st_size
    assert 0 < kept <= 2000
    detect_disks(disks, tmp_path)
    run = json.loads((tmp_path / "disks.tiff" / "run.json").read_text())
    assert run["timings"]["batches_of_earlier_runs"] > 0


def test_a_file_in_the_place_of_the_results(disks, tmp_path):
    (tmp_path / "disks.tiff").write_text("")
    with pytest.raises(InputError, match="disks.tiff: cannot be written .* choose another --out"):
        detect_disks(disks, tmp_path)
