"""``mhkd detect``: many slides, one after the other or in the processes of a Dask cluster."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..annotations.folders import find_slides, lines, unused
from ..errors import InputError
from ..onnx_file import available_threads
from ..terminal import legible, show_warnings
from .differences import differences
from .exports import write_summary_csv
from .finished import Results, find_finished
from .options import DetectOptions
from .run import detect_slide
from .student import load_student

if TYPE_CHECKING:
    from .grade import Grader

logger = logging.getLogger(__name__)
SUMMARY_CSV = "summary.csv"
# Dask's settings of the processes that are begun here, which take them with them.
_LOCAL = {
    "logging.distributed": "warning",
    # One that died and is not back after 15 s would be given up, and its slides waited for.
    "distributed.deploy.lost-worker-timeout": "10 minutes",
    "distributed.scheduler.no-workers-timeout": "20 minutes",
}
_one_slide_at_a_time = threading.Lock()  # in a process, whatever number of threads a Dask worker has


def detect_slides(
    slides: list[str],
    out: str | os.PathLike[str],
    student: dict[str, Any],
    options: DetectOptions,
    *,
    scheduler: str | None = None,
    workers: int = 2,
    grader: dict[str, Any] | None = None,
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Find the glomeruli of many slides. One that fails does not keep the others from being finished.

    Args:
        slides: slide files, and folders of them.
        out: folder of the results, see :func:`mhkd.slide_detection.run.detect_slide`. ``summary.csv``
            there gets a row for each slide that is finished in it, and for each that failed now; one that
            failed and has results of an earlier run keeps them.
        student: arguments of :func:`mhkd.slide_detection.student.load_student`.
        options: how.
        scheduler: address of a Dask scheduler, whose workers see the same files; or "local"
            for ``workers`` processes on this machine. Each worker loads the student once.
        workers: see scheduler; without one, threads that read tiles.
        grader: arguments of :func:`mhkd.slide_detection.grade.load_grader`, to have all that is found graded.

    Returns:
        Of each slide, also those in the folders that cannot be read, its summary, or
        ``{"error": what is wrong}``; and what should not be mixed in ``out``, see
        :func:`mhkd.slide_detection.finished.differences`.

    Raises:
        InputError: no slides, two of one name, a student that cannot be used, or ``out`` cannot be written or
            holds the slides themselves.
    """
    if workers < 1:
        raise InputError(f"--workers {workers}: must be at least 1")
    slides, others = find_slides(slides)
    left = unused(others, slides, None, [os.fspath(out)])
    slides = [os.path.abspath(s) for s in slides]
    out = Path(out).absolute()
    check_names(slides, out)
    student = {**student, "folder": os.path.abspath(student["folder"])}
    if grader:
        grader = {**grader, "folder": os.path.abspath(grader["folder"])}
    load_student(**student)  # also where others do the work: what is wrong with it is said once, and first
    _load_grader(grader)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InputError(f"{out}: cannot be made ({e.strerror}): choose another --out") from e
    if scheduler is None:
        outcomes = _one_by_one(slides, out, student, grader, options, workers)
    else:
        outcomes = _on_cluster(slides, out, student, grader, options, scheduler, workers)
    found: dict[str, dict[str, Any]] = {
        os.path.abspath(u.path): {"error": str(u)} for u in left if u.is_slide and u.is_fault
    }
    for line in lines(u for u in left if os.path.abspath(u.path) not in found):
        tqdm.write(legible(line))
    faults = list(found)
    for path, result in outcomes:
        found[path] = result
        if "error" in result:
            tqdm.write(legible(f"failed: {result['error']}"))
    try:
        results = find_finished(out)
    except InputError:  # nothing is finished
        results = Results([], [], {})
    write_summary_csv(out / SUMMARY_CSV, _rows(results, found))
    return {path: found[path] for path in (*slides, *faults)}, differences(results.finished)


def _one_by_one(
    slides: list[str],
    out: Path,
    student: dict[str, Any],
    grader: dict[str, Any] | None,
    options: DetectOptions,
    readers: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Slides and their results, in this process."""
    with logging_redirect_tqdm():
        for path in slides:
            yield path, _attempt(path, out, student, grader, options, readers, progress=True)


def _on_cluster(
    slides: list[str],
    out: Path,
    student: dict[str, Any],
    grader: dict[str, Any] | None,
    options: DetectOptions,
    scheduler: str,
    workers: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Slides and their results, as they come from the workers of a Dask cluster."""
    import dask
    import distributed

    logging.getLogger("distributed").setLevel(logging.WARNING)
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what was lost is said in the end
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(_LOCAL))
        try:
            if scheduler == "local":
                workers = min(workers, len(slides))
                threads = max(1, available_threads() // workers)
                cluster = distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None
                )
                scheduler = stack.enter_context(cluster)
            else:
                threads = None  # OMP_NUM_THREADS of the workers
            client = stack.enter_context(distributed.Client(scheduler, timeout=20))
        except (OSError, ValueError, TimeoutError) as e:
            raise InputError(
                f"--scheduler {scheduler}: cannot be reached ({e}): give the address that dask scheduler "
                "prints (tcp://host:8786), or local"
            ) from e
        futures = {}
        for path in slides:
            future = client.submit(
                _attempt_elsewhere, path, out, student, grader, options, readers=2, progress=False,
                threads=threads, command=sys.argv, pure=False,
            )  # fmt: skip
            futures[future] = path
        with tqdm(total=len(slides), unit="slide", desc="slides") as bar:
            for future in distributed.as_completed(list(futures)):
                path = futures[future]
                try:
                    result = future.result()
                except Exception as e:  # the task catches its own: this is of a worker or scheduler that died
                    why = " ".join(str(e).split())
                    result = {"error": f"{path}: its worker was lost ({why}): give the same command again"}
                yield path, result
                bar.update()


def _attempt(
    path: str,
    out: Path,
    student: dict[str, Any],
    grader: dict[str, Any] | None,
    options: DetectOptions,
    readers: int,
    progress: bool,
    threads: int | None = None,
    command: list[str] | None = None,
) -> dict[str, Any]:
    """The summary of a slide, or what is wrong with it."""
    with _one_slide_at_a_time:
        try:
            network = load_student(**student, threads=threads)
            return detect_slide(
                path,
                out,
                network,
                options,
                readers=readers,
                progress=progress,
                command=command,
                grader=_load_grader(grader),
            )
        except InputError as e:
            return {"error": " ".join(str(e).split())}
        except MemoryError:
            return {"error": f"{path}: the device's memory is too small: use a smaller --batch-size"}
        except Exception as e:  # whatever is wrong with one slide, the others are not lost
            logger.debug("%s", path, exc_info=True)
            return {"error": f"{path}: {type(e).__name__}: {' '.join(str(e).split())}"}


def _attempt_elsewhere(*arguments: Any, **named: Any) -> dict[str, Any]:
    """The same in a process of the cluster."""
    show_warnings()
    return _attempt(*arguments, **named)


def _load_grader(arguments: dict[str, Any] | None) -> "Grader | None":
    if not arguments:
        return None
    from .grade import load_grader  # torch, which a student may do without

    return load_grader(**arguments)


def check_names(slides: list[str], out: Path) -> None:
    """Raises InputError where the results of a slide would take another file's place."""
    by_name: dict[str, str] = {}
    for path in slides:
        name = os.path.basename(path)
        other = by_name.setdefault(os.path.normcase(name), path)
        if other != path:
            raise InputError(
                f"{path}: has the same name as {other}, and so would its results: give them another --out"
            )
        if os.path.realpath(out / name) == os.path.realpath(path):
            raise InputError(
                f"{out}: is where the slides are, and the results of {name} would take its place: give "
                "another --out"
            )


def _rows(results: Results, found: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any] | None, str]]:
    """Of summary.csv: all slides that are finished, those that cannot be used, and those that failed now."""
    rows: dict[str, tuple[dict[str, Any] | None, str]] = {
        one.name: ({**one.summary, "student": one.student, "warnings": one.warnings}, "")
        for one in results.finished
    }
    rows.update({name: (None, reason) for name, reason in results.damaged.items()})
    for path, result in found.items():
        if "error" in result:
            name, error = os.path.basename(path), result["error"]
            summary, _ = rows.get(name, (None, ""))
            rows[name] = summary, f"{error} (the numbers are of an earlier run)" if summary else error
    return [(name, *row) for name, row in sorted(rows.items())]
