"""Files from strangers, or damaged: each is one error line that names the file, or is read as what it says.

A case is ``<kind>/<what is done to it>/<number or name>``. Broken is anything else: another exception,
something run, sent or opened outside, an end of the process, 10 s of a processor, 1 GiB, a file half written.
"""

import atexit
import functools
import json
import os
import random
import shutil
import tempfile
import unicodedata
from pathlib import Path

from mhkd.errors import InputError

import _kinds_of_annotations
import _kinds_of_configs
import _kinds_of_datasets
import _kinds_of_images
import _kinds_of_journals
import _kinds_of_onnx
import _kinds_of_results
import _kinds_of_students
import _kinds_of_tiling
import _kinds_of_trainings
import _kinds_of_weights
from _kinds import STRUCTURES, reformat
from _mutations import change_bytes
from _sandbox import GIVEN, OUT, Broken, run_watched, write_canaries

KINDS = {
    kind.name: kind
    for module in (
        _kinds_of_annotations,
        _kinds_of_datasets,
        _kinds_of_images,
        _kinds_of_tiling,
        _kinds_of_weights,
        _kinds_of_students,
        _kinds_of_onnx,
        _kinds_of_configs,
        _kinds_of_results,
        _kinds_of_trainings,
        _kinds_of_journals,
    )
    for kind in module.KINDS
}
FULL, SAMPLE = 10_300, 800
WAYS = {"structure": 0.55, "bytes": 0.4, "reformatted": 0.05}  # of what is drawn at random
REFUSED, SAME, OTHER = "refused", "read the same", "read as other content"
LONGEST_LINE = 4100
TOGETHER = 20
_known = {}


@functools.cache
def cases(full):
    """The hand-written ones of each kind and as many drawn ones as make the number."""
    nasty = [f"{kind.name}/nasty/{name}" for kind in KINDS.values() for name in kind.nasty]
    nasty = [*(f"{name}/sound/0" for name in KINDS), *nasty]
    if not full:
        nasty = nasty[::5]
    shares = sum(kind.share for kind in KINDS.values())
    drawn = []
    for kind in KINDS.values():
        count = ((FULL if full else SAMPLE) - len(nasty)) * kind.share / shares
        for way, share in WAYS.items():
            if way != "reformatted" or kind.reformatted:
                drawn += [f"{kind.name}/{way}/{k}" for k in range(round(count * share) + 1)]
    return nasty + drawn


def run(case, folder):
    """As the others beside it in the list, in one process; alone, where that is broken."""
    if case not in _known:
        together = [c for c in _after(case) if c not in _known]
        try:
            _known.update(zip(together, run_together(together, Path(folder) / "together"), strict=True))
        except Broken:
            _known[case] = run_together([case], Path(folder) / "alone")[0]
    return _known.pop(case)


def _after(case):
    """It and what follows in the list, of the same kind and drawn; of hand-written ones each is alone."""
    listed = cases(True)
    begin = listed.index(case)
    name, way, _ = case.split("/", 2)
    if way not in WAYS:
        return [case]
    return [c for c in listed[begin : begin + TOGETHER] if c.startswith(f"{name}/{way}/")]


def run_together(together, folder):
    """(What came out, figures) of cases of one kind, in one process."""
    kind = KINDS[together[0].split("/")[0]]
    functions = {}
    sound = expected(kind.name)
    for number, case in enumerate(together):
        _, way, name = case.split("/", 2)
        place = folder / str(number)
        write_canaries(place)
        _place(kind, place)
        damaged = damage(kind, way, name, place / GIVEN, random.Random(case))
        functions[str(place)] = functools.partial(judge, kind, way, damaged, sound)
    found, more = run_watched(functions, str(folder), kind.reader, kind.names_files)
    return [(outcome, {"mib": round(more / 2**20)}) for outcome in found]


def damage(kind, way, number, given, rng):
    """Change the sound files; the names of those that an error may name."""
    if way == "sound":
        return [*kind.files, *kind.named]
    if way == "nasty":
        kind.nasty[number](given)
        return [*kind.files, *kind.named]
    choices = [
        (path, structure)
        for pattern, structure in kind.files.items()
        for path in sorted(given.glob(pattern))
        if {"structure": structure, "bytes": True, "reformatted": pattern in kind.reformatted}[way]
    ]
    if not choices:  # of images only bytes
        choices, way = [(path, None) for p in kind.files for path in sorted(given.glob(p))], "bytes"
    path, structure = rng.choice(choices)
    content = path.read_bytes()
    if way == "structure":
        content = STRUCTURES[structure](content, rng)
    elif way == "reformatted":
        content = reformat(structure, content, rng)
    else:
        content = change_bytes(content, rng)
    path.write_bytes(content)
    return [str(path.relative_to(given)), *kind.named]


def judge(kind, way, damaged, sound):
    """What comes of reading, in the child; ``sound``: what the sound files are read as."""
    try:
        found = plain(kind)
    except InputError as e:
        line = str(e)
        if not _is_one_line(line) or len(line) > LONGEST_LINE:
            raise Broken(f"no line of a sound length: {line[:500]!r}") from e
        if not (kind.names_files or any(os.path.basename(name) in line for name in damaged)):
            raise Broken(f"does not name {damaged}: {line[:500]}") from e
        if way in ("sound", "reformatted"):
            raise Broken(f"is sound and refused: {line[:500]}") from e
        return REFUSED
    if found == sound:
        return SAME
    if way == "reformatted" or (kind.exact and way == "bytes"):
        raise Broken("was read as other content")
    return OTHER


def _is_one_line(text):
    return bool(text) and not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in text)


def plain(kind):
    """What a kind's files are read as, without the folder's own name."""
    folder = os.path.dirname(os.getcwd())
    return json.dumps(kind.read(), default=str).replace(folder, "")


@functools.cache
def expected(name):
    """What the sound files are read as."""
    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        write_canaries(folder)
        _place(kind, Path(folder))
        return run_watched({folder: functools.partial(plain, kind)}, folder, kind.reader, kind.names_files)[
            0
        ][0]


def _place(kind, folder):
    """The sound files of a case."""
    (folder / OUT).mkdir()
    if kind.fresh:
        (folder / GIVEN).mkdir()
        kind.write(folder / GIVEN)
    else:
        shutil.copytree(_sound(kind.name), folder / GIVEN)


@functools.cache
def _sound(name):
    """A folder of a kind's sound files, written once."""
    folder = tempfile.mkdtemp(prefix="mhkd_sound_")
    pid = os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == pid else None)
    KINDS[name].write(Path(folder))
    return folder
