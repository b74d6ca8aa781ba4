"""TIFFs with one or two numbers of their structure replaced, read in one process: run as a program.

Prints a line before and one after each, so that the one that ended the process is known.
"""

import os
import sys
import time
from pathlib import Path

from mhkd.errors import InputError
from mhkd.slides.slide import Slide

import numpy as np

_VALUE_BYTES = {3: 2, 4: 4, 5: 4, 16: 8}


def fields(data):
    """(position, bytes) of all numbers that say where things are and how large, tiles' own among them."""
    order, big = "little" if data[:2] == b"II" else "big", 43 in data[2:4]
    word, short, entry_bytes = (8, 8, 20) if big else (4, 2, 12)

    def number(position, n_bytes):
        return int.from_bytes(data[position : position + n_bytes], order)

    found = [(word, word)]
    position = number(word, word)
    while position:
        n = number(position, short)
        found.append((position, short))
        for at in range(position + short, position + short + n * entry_bytes, entry_bytes):
            kind, count = number(at + 2, 2), number(at + 4, word)
            found += [(at, 2), (at + 2, 2), (at + 4, word), (at + 4 + word, word)]
            width = _VALUE_BYTES.get(kind, 1)
            if width > 1 and count * width > word:
                array = number(at + 4 + word, word)
                found += [(array + k * width, width) for k in range(count)]
        position += short + n * entry_bytes
        found.append((position, word))
        position = number(position, word)
    return found, order


def mutate(data, known, rng):
    """A copy with one to three numbers replaced, mostly by absurd ones."""
    found, order = known
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        position, n_bytes = found[rng.integers(len(found))]
        top = 2 ** (8 * n_bytes)
        old = int.from_bytes(data[position : position + n_bytes], order)
        flipped = old ^ (1 << int(rng.integers(8 * n_bytes)))
        values = [0, 1, top - 1, top // 2, old + 1, old * 2, old * 1000, flipped, len(data), 3 * 10**8]
        value = values[rng.integers(len(values))] % top
        changed[position : position + n_bytes] = value.to_bytes(n_bytes, order)
    return bytes(changed)


def read_all(path):
    """What becomes of a slide: "read", "damaged" in places, or "refused"."""
    try:
        slide = Slide(path, 0.5)
        size_px, outcome = slide.size_px, "read"
    except InputError:
        return "refused"
    for downsample in slide.pixels.downsamples:
        width, height = (min(-(-n // downsample), 2048) for n in size_px)
        try:
            slide.pixels.read(downsample, 0, 0, width, height)
        except InputError:
            outcome = "damaged"
    return outcome


def memory_mib():
    """Most that the process ever had."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def main(folder, count):
    sources = [(p.read_bytes(), p.name) for p in sorted(Path(folder).glob("source_*"))]
    known = [fields(data) for data, _ in sources]
    path = os.path.join(folder, "mutated.tiff")
    for k in range(int(count)):
        data, name = sources[k % len(sources)]
        Path(path).write_bytes(mutate(data, known[k % len(sources)], np.random.default_rng(k)))
        print("begin", k, name, flush=True)
        began = time.monotonic()
        outcome = read_all(path)
        print("end", outcome, time.monotonic() - began, memory_mib(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
