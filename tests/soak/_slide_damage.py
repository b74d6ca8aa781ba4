"""Damage of one kind at a time, and what of it a file cannot show.

Each function changes ``data`` in place, or shortens it, and returns what it touched.
"""

from dataclasses import dataclass, field

import _tiff_map as tiff_map

SECTOR = 512
_TABLES, _DESCRIPTION = 347, 270
_MPP_TAGS = {282, 283, 296}
_PLACES = (tiff_map.TILE_OFFSETS, tiff_map.STRIP_OFFSETS)
_COUNTS = (tiff_map.TILE_BYTES, tiff_map.STRIP_BYTES)
SIZES = (256, 257, 278, 322, 323)


@dataclass
class Touched:
    """Tags by page, pieces whose bytes, or whose place among the others, are no longer theirs."""

    tags: set = field(default_factory=set)
    pieces: list = field(default_factory=list)


def _pick(rng, items):
    return items[int(rng.integers(len(items)))]


def _flip(data, begin, size, rng, bits=1):
    for _ in range(bits):
        data[begin + int(rng.integers(size))] ^= 1 << int(rng.integers(8))


def _put(data, where, value, known):
    data[where.at : where.at + where.size] = (value % 2 ** (8 * where.size)).to_bytes(where.size, known.order)


def _flip_one_of(*whats, tags=None):
    def damage(data, known, rng):
        of_tags = [f for f in known.fields if tags is None or f.tag in tags]
        found = [f for f in of_tags if f.what in whats]
        where = _pick(rng, found or [f for f in of_tags if f.what == "value"])  # BigTIFF has room for some
        _flip(data, where.at, where.size, rng)
        return Touched({(where.page, where.tag)})

    return damage


def _flip_in(tags):
    """A bit in the places or the lengths of pieces."""

    def damage(data, known, rng):
        piece = _pick(rng, known.pieces)
        where = piece.offset if tags == _PLACES else piece.count
        _flip(data, where.at, where.size, rng)
        return Touched({(where.page, where.tag)}, [piece])

    return damage


def flip_data(data, known, rng):
    piece = _pick(rng, [p for p in known.pieces if p.size])
    _flip(data, piece.begin, piece.size, rng, bits=int(rng.integers(1, 9)))
    return Touched(pieces=[piece])


def zero_data(data, known, rng):
    """Zeros from somewhere in a piece to its end, or all of it."""
    piece = _pick(rng, [p for p in known.pieces if p.size])
    begin = piece.begin + int(rng.integers(piece.size)) * int(rng.integers(2))
    data[begin : piece.begin + piece.size] = bytes(piece.begin + piece.size - begin)
    return Touched(pieces=[piece])


def _overlapping(known, begin, end):
    pieces = [p for p in known.pieces if p.begin < end and p.begin + p.size > begin]
    tags = {(f.page, f.tag) for f in known.fields if f.at < end and f.at + f.size > begin}
    return Touched(tags, pieces)


def lose_sectors(data, known, rng):
    """A run of the disk's sectors, zeroed or of other bytes."""
    begin = int(rng.integers(len(data) // SECTOR + 1)) * SECTOR
    end = min(len(data), begin + SECTOR * int(rng.choice([1, 8, 64])))
    data[begin:end] = bytes(end - begin) if rng.integers(2) else rng.bytes(end - begin)
    return _overlapping(known, begin, end)


def _two_pieces(known, rng):
    page = _pick(rng, known.pieces).page
    pieces = [p for p in known.pieces if p.page == page]
    return _pick(rng, pieces), _pick(rng, pieces)


def swap_pieces(data, known, rng):
    """Two tiles in each other's place: valid in themselves."""
    a, b = _two_pieces(known, rng)
    for one, other in ((a, b), (b, a)):
        _put(data, one.offset, other.begin, known)
        _put(data, one.count, other.size, known)
    return Touched(pieces=[a, b])


def repeat_piece(data, known, rng):
    """A tile that is another's once more."""
    a, b = _two_pieces(known, rng)
    _put(data, a.offset, b.begin, known)
    _put(data, a.count, b.size, known)
    return Touched(pieces=[a])


def move_piece(data, known, rng):
    """One number only: the place of another tile, or a length of nothing."""
    a, b = _two_pieces(known, rng)
    if rng.integers(2):
        _put(data, a.offset, b.begin, known)
        return Touched({(a.page, a.offset.tag)}, [a])
    _put(data, a.count, 0, known)
    return Touched({(a.page, a.count.tag)}, [a])


def change_size(data, known, rng):
    """Of a page, a tile or a strip: by little, doubled, halved."""
    found = [f for f in known.fields if f.what == "value" and f.tag in SIZES]
    where = _pick(rng, found)
    kind = next(f for f in known.fields if f.what == "type" and (f.page, f.tag) == (where.page, where.tag))
    width = 2 if known.number(kind.at, 2) == 3 else 4
    where = tiff_map.Field(where.at, width, "value", where.page, where.tag)
    old = known.number(where.at, width)
    changes = [
        old - 1,
        old + 1,
        old - 16,
        old + 16,
        old - 40,
        old + 40,
        old * 2,
        old // 2,
        old * 4,
        old + 256,
    ]
    _put(data, where, max(1, _pick(rng, changes)), known)
    return Touched({(where.page, where.tag)})


def replace_number(data, known, rng):
    """Any number of the structure, by one of those that have ended a process."""
    where = _pick(rng, [f for f in known.fields if f.what != "values" or f.size <= 8])
    top, old = 2 ** (8 * where.size), known.number(where.at, where.size)
    values = [0, 1, top - 1, top // 2, old + 1, old * 2, old * 1000, len(data), 3 * 10**8]
    _put(data, where, _pick(rng, values), known)
    pieces = [p for p in known.pieces if where.at in (p.offset.at, p.count.at)]
    return Touched({(where.page, where.tag)}, pieces)


def lose_page(data, known, rng):
    """A page that the one before it no longer leads to; the first one too."""
    links = [f for f in known.fields if f.what in ("first", "next")]
    k = int(rng.integers(len(links) - 1))
    _put(data, links[k], known.number(links[k + 1].at, links[k + 1].size), known)
    return Touched({("page", k)})


def lose_pages(data, known, rng):
    """All from one on."""
    links = [f for f in known.fields if f.what == "next"][:-1]
    if links:
        where = _pick(rng, links)
        _put(data, where, 0, known)
        return Touched({("page", where.page + 1)})
    return Touched()


def cut_short(data, known, rng):
    """At the beginning, in or at the end of anything."""
    fields = [(f.at, f.size) for f in known.fields if f.what in ("entries", "next", "values") and f.size]
    at, size = _pick(rng, fields + [(p.begin, p.size) for p in known.pieces])
    del data[max(1, at + _pick(rng, [0, 1, size // 2, size - 1, size])) :]
    return Touched()


TIFF = {
    "flip_header": (_flip_one_of("header", "first", "entries", "next"), 1),
    "flip_entry": (_flip_one_of("tag", "type", "count", "value"), 4),
    "flip_values": (_flip_one_of("values", tags=_MPP_TAGS | {258, _DESCRIPTION, _TABLES}), 1),
    "flip_places": (_flip_in(_PLACES), 2),
    "flip_lengths": (_flip_in(_COUNTS), 2),
    "flip_data": (flip_data, 4),
    "zero_data": (zero_data, 2),
    "lose_sectors": (lose_sectors, 2),
    "swap_pieces": (swap_pieces, 1),
    "repeat_piece": (repeat_piece, 1),
    "move_piece": (move_piece, 2),
    "change_size": (change_size, 3),
    "replace_number": (replace_number, 3),
    "lose_page": (lose_page, 1),
    "lose_pages": (lose_pages, 1),
    "cut_short": (cut_short, 2),
}


def _some_file(folder, rng):
    return _pick(rng, sorted(folder.iterdir()))


def _frames_at(content):
    """Where the pixels begin."""
    return content.rindex(b"\xe0\x7f\x10\x00")


def dicom_flip_header(folder, rng):
    path = _some_file(folder, rng)
    content = bytearray(path.read_bytes())
    _flip(content, 0, _frames_at(content) + 12, rng, bits=int(rng.integers(1, 3)))
    path.write_bytes(content)
    return {"header"}


def dicom_flip_data(folder, rng):
    path = _some_file(folder, rng)
    content = bytearray(path.read_bytes())
    begin = _frames_at(content) + 12
    _flip(content, begin, len(content) - begin, rng, bits=int(rng.integers(1, 9)))
    path.write_bytes(content)
    return {"data"}


def dicom_lose_sectors(folder, rng):
    path = _some_file(folder, rng)
    content = bytearray(path.read_bytes())
    begin = int(rng.integers(len(content) // SECTOR + 1)) * SECTOR
    end = min(len(content), begin + SECTOR * int(rng.choice([1, 8, 64])))
    within = "data" if begin > _frames_at(content) + 12 else "header"
    content[begin:end] = bytes(end - begin) if rng.integers(2) else rng.bytes(end - begin)
    path.write_bytes(content)
    return {within}


def dicom_cut_short(folder, rng):
    path = _some_file(folder, rng)
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(len(content)))])
    return set()


def dicom_lose_file(folder, rng):
    _some_file(folder, rng).unlink()
    return {"file"}


DICOM = {
    "flip_header": (dicom_flip_header, 4),
    "flip_data": (dicom_flip_data, 3),
    "lose_sectors": (dicom_lose_sectors, 2),
    "cut_short": (dicom_cut_short, 2),
    "lose_file": (dicom_lose_file, 1),
}
