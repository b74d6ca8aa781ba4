"""Damaged slides are refused or read right, and sound ones that are odd are read.

What came out of a damaged slide: "refused" by an InputError, at once or where it is damaged; "right pixels";
or "cannot be seen", other pixels or another resolution that nothing in the file contradicts, as a valid JPEG
in the place of another. An odd one is "read".
"""

import functools
import shutil

import _odd_slides
import _reading
import numpy as np
from _slide_damage import DICOM, SIZES, TIFF
from _slide_sources import NO_MPP, REAL, WRITERS, folder, source
from _tiff_map import TiffMap

COUNT = 10_086  # of damaged slides, and as many odd ones
SAMPLE = 41  # one of so many, odd so that both are in it
GREY_LEVELS = 25  # of means over 8 x 8 pixels: what another level, or another JPEG, may differ by
SAME_MPP = 0.02  # share by which the resolutions that levels record may differ
TAGS_TOLD_ONCE = {259, 262, 270, 282, 283, 284, 296, 317, 347, 530}  # where the slide has but one level


def _of_shares(table, count):
    """Names, each in its share, mixed."""
    total = sum(share for _, share in table.values())
    wanted = {name: share / total for name, (_, share) in table.items()}
    given = dict.fromkeys(table, 0)
    for k in range(count):
        name = max(wanted, key=lambda n: wanted[n] * (k + 1) - given[n])
        given[name] += 1
        yield name


def cases(full):
    sources = {**WRITERS, **REAL}
    damages = {n: _of_shares(DICOM if n.startswith("dicom") else TIFF, COUNT) for n in sources}
    names = []
    for k, name in enumerate(_of_shares(sources, COUNT)):
        names += [f"damaged {k:05d} {name} {next(damages[name])}", f"odd {k:05d}"]
    return names if full else names[::SAMPLE]


def run(case, path):
    kind, number, *rest = case.split()
    rng = np.random.default_rng([0 if kind == "odd" else 1, int(number)])
    return _run_odd(path, rng) if kind == "odd" else _run_damaged(path, rng, *rest)


@functools.cache
def _sound(name):
    """A source's path, its views and what is read of it."""
    reference = folder() / f"{name}.npz"
    answer = _reading.read(source(name), _mpp_of(name), save=reference)
    assert not answer.get("refused") and not answer["errors"], answer
    return source(name), reference, answer


def _mpp_of(name):
    return 0.25 if name in NO_MPP else None


def _run_damaged(path, rng, name, kind):
    sound, reference, wanted = _sound(name)
    if name.startswith("dicom"):
        file = path / "case"
        shutil.copytree(sound, file)
        touched, known = DICOM[kind][0](file, rng), None
    else:
        file, data = path / "damaged.tiff", bytearray(sound.read_bytes())
        known = TiffMap(bytes(data))
        touched = TIFF[kind][0](data, known, rng)
        file.write_bytes(data)
    answer = _reading.read(file, _mpp_of(name), reference)
    memory = {"mib": _reading.mib(answer)}
    if "refused" in answer:
        return "refused", memory | {"why": answer["refused"].replace(str(file), "")}
    wrong = dict(answer["wrong"])
    if "high" not in wrong:  # levels may stand in for each other
        wrong = {view: w for view, w in wrong.items() if w.get("grey_levels", 99) > GREY_LEVELS}
    other = [what for what in ("size_px", "mpp") if not np.allclose(answer[what], wanted[what], rtol=1e-9)]
    if not wrong and not other:
        return "refused" if answer["errors"] else "right pixels", memory
    why = _cannot_be_seen(touched, known, wrong, other, answer, wanted)
    assert why, f"{wrong} {other} {answer['size_px']} {answer['mpp']} {wanted} {touched}"
    return "cannot be seen", memory | {"why": why}


def _cannot_be_seen(touched, known, wrong, other, answer, wanted):
    """Why nothing in the file contradicts what is wrong; None if something does."""
    if known is None:
        return _cannot_be_seen_of_dicom(touched, wrong, other, wanted)
    if touched.pieces and not other:
        # In the places of these tiles only; a place may also be on a level.
        if all(_is_within(w["box"], touched.pieces, known) for w in wrong.values() if "box" in w):
            return "pixels of a piece"
        return None
    tags = {tag for _, tag in touched.tags}
    alone = len(known.levels) <= 1
    if other == ["mpp"] and not wrong and tags == {270}:
        return "a description's words"
    if other == ["mpp"] and tags <= {282, 283} and np.allclose(answer["mpp"], wanted["mpp"], rtol=SAME_MPP):
        return "a resolution off by what levels may differ by"
    if (
        "size_px" in other
        and tags <= set(SIZES)
        and "high" not in [v for v, w in wrong.items() if "box" in w]
    ):
        if alone or all(_is_level(answer["size_px"], known.sizes[k], known) for k in known.levels[1:]):
            return "a size that its tiles and levels allow"
    if alone and tags <= TAGS_TOLD_ONCE:
        return f"tag {max(tags)}, told once"
    return None


def _is_within(box, pieces, known):
    """Whether a box of base pixels is within that of all the pieces."""
    union = [_in_base(p, known) for p in pieces]
    left, top, right, bottom = (f(u[k] for u in union) for k, f in enumerate((min, min, max, max)))
    edge = 34  # an output pixel of the overview, and the filter's support
    return (
        box[0] >= left - edge and box[1] >= top - edge and box[2] <= right + edge and box[3] <= bottom + edge
    )


def _in_base(piece, known):
    scale = known.sizes[0][0] / known.sizes[piece.page][0]
    return [v * scale for v in piece.box]


def _is_level(base, level, known):
    """Whether a level may be a smaller picture of a base."""
    low, high = zip(*((b / (n + 1), b / max(n - 1, 1e-9)) for b, n in zip(base, level)))
    return max(low) <= min(high)


def _cannot_be_seen_of_dicom(touched, wrong, other, wanted):
    if touched == {"data"} and not other:
        return "pixels of a frame"
    if other == ["mpp"] and not wrong and "header" in touched:
        return "pixel spacing"
    if touched == {"header"} and wanted["levels"] == [1]:
        return "a header, of one level"
    return None


def _run_odd(path, rng):
    expected = _odd_slides.make(path, rng)
    np.savez(path / "expected.npz", **expected.views)
    answer = _reading.read(expected.path, expected.given_mpp, path / "expected.npz")
    assert "refused" not in answer and not answer["errors"], (expected.layout, answer)
    assert answer["size_px"] == list(expected.size_px), (expected.layout, answer)
    assert np.allclose(answer["mpp"], expected.mpp, rtol=1e-3), (expected.layout, answer)
    wrong = {
        v: w for v, w in answer["wrong"].items() if v == "high" or w.get("grey_levels", 99) > GREY_LEVELS
    }
    assert not wrong, (expected.layout, wrong)
    return "read", {"mib": _reading.mib(answer), "layout": expected.layout}
