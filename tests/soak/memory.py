"""Memory of what runs for long: slides through a student.

Each case is a process of its own whose resident memory is read as it goes on. Its slope after a warm-up, the
median of the slopes between any two readings (Theil and Sen), must stay below MOST_MB for 1,000 tiles.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

MOST_MB = 1.0  # for 1,000 of what is counted
WARM_UP = 0.3  # of the readings, left out
CASES = ("tiles 2000", "tiles 10000")


def cases(full):
    return list(CASES if full else CASES[:1])


def run(case, folder):
    command = [sys.executable, __file__, case.split()[1], str(folder)]
    child = subprocess.run(command, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr[-3000:]
    readings = json.loads(child.stdout.splitlines()[-1])
    per_thousand = 1000 * slope(readings)
    done, mb = readings[-1]
    figures = {"mb_per_1000": round(per_thousand, 3), "done": done, "mb_at_end": round(mb, 1)}
    assert per_thousand < MOST_MB, f"{figures}: more than {MOST_MB} MB for 1,000"
    return "flat", figures


def slope(readings):
    """MB for one more of what is counted; readings are (count, MB)."""
    x, y = np.array(readings[int(len(readings) * WARM_UP) :], float).T
    i, j = np.triu_indices(len(x), 1)
    apart = x[j] > x[i]
    return float(np.median((y[j] - y[i])[apart] / (x[j] - x[i])[apart]))


def resident_mb(pid="self"):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def detect(tiles, folder):
    """One slide after the other, each into a folder of its own."""
    from blob_student import detect_disks, write_disks

    path, _, _ = write_disks(folder / "disks.tiff", (7000, 7000), mpp=(4.0, 4.0))
    readings, done = [], 0
    while done < tiles:
        out = folder / f"out{done}"
        detect_disks(path, out)
        done += json.loads((out / "disks.tiff" / "run.json").read_text())["tiles"]
        readings.append((done, resident_mb()))
    return readings


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    print(json.dumps(detect(int(sys.argv[1]), Path(sys.argv[2]))))
