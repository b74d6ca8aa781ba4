"""Where everything lies in a sound TIFF, for those who damage it; read apart from what the package reads."""

from dataclasses import dataclass

WIDTH, LENGTH = 256, 257
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
STRIP_OFFSETS, ROWS, STRIP_BYTES = 273, 278, 279
_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_INTEGERS = (1, 3, 4, 16)


@dataclass(frozen=True)
class Field:
    """A number or a row of bytes that says something: where, how long, of what; ``tag`` 0: not of a tag."""

    at: int
    size: int
    what: str  # header, first, entries, next, tag, type, count, value, values
    page: int = -1
    tag: int = 0


@dataclass(frozen=True)
class Piece:
    """A tile or strip: its page and number, its bytes, where they are told, and the pixels it covers."""

    page: int
    number: int
    begin: int
    size: int
    offset: Field
    count: Field
    box: tuple[int, int, int, int]


class TiffMap:
    """All of it: ``fields``, ``pieces``, ``sizes`` of the pages by number, ``levels``: the tiled pages."""

    def __init__(self, data):
        self.order = "little" if data[:2] == b"II" else "big"
        big = 43 in data[2:4]
        self.word, self._short, entry_bytes = (8, 8, 20) if big else (4, 2, 12)
        self._data = data
        self.fields = [Field(0, self.word, "header"), Field(self.word, self.word, "first")]
        self.pieces, self.sizes, self.levels, page = [], [], [], 0
        at = self.number(self.word, self.word)
        while at:
            n = self.number(at, self._short)
            self.fields.append(Field(at, self._short, "entries", page))
            values = {}
            for k in range(n):
                tag, value = self._entry(at + self._short + k * entry_bytes, page)
                values[tag] = value
            end = at + self._short + n * entry_bytes
            self.fields.append(Field(end, self.word, "next", page))
            self._add_pieces(page, values)
            at, page = self.number(end, self.word), page + 1

    def number(self, at, size):
        return int.from_bytes(self._data[at : at + size], self.order)

    def _entry(self, at, page):
        tag, kind, count = self.number(at, 2), self.number(at + 2, 2), self.number(at + 4, self.word)
        inline = at + 4 + self.word
        for begin, size, what in ((at, 2, "tag"), (at + 2, 2, "type"), (at + 4, self.word, "count")):
            self.fields.append(Field(begin, size, what, page, tag))
        width = _BYTES[kind]
        begin = inline
        self.fields.append(Field(inline, self.word, "value", page, tag))
        if count * width > self.word:
            begin = self.number(inline, self.word)
            self.fields.append(Field(begin, count * width, "values", page, tag))
        places = [Field(begin + k * width, width, "values", page, tag) for k in range(count)]
        return tag, places if kind in _INTEGERS else []

    def _add_pieces(self, page, values):
        width, length = (self.number(p.at, p.size) for t in (WIDTH, LENGTH) for p in values[t][:1])
        self.sizes.append((width, length))
        if TILE_OFFSETS in values:
            self.levels.append(page)
            across, down = (
                self.number(p.at, p.size) for t in (TILE_WIDTH, TILE_LENGTH) for p in values[t][:1]
            )
            offsets, counts = values[TILE_OFFSETS], values[TILE_BYTES]
        else:
            offsets, counts = values[STRIP_OFFSETS], values[STRIP_BYTES]
            across, down = width, next((self.number(p.at, p.size) for p in values.get(ROWS, [])[:1]), length)
        columns = -(-width // across)
        per_plane = columns * -(-length // down)
        for k, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
            row, column = divmod(k % per_plane, columns)
            x, y = column * across, row * down
            box = (x, y, min(x + across, width), min(y + down, length))
            begin, size = (self.number(p.at, p.size) for p in (offset, count))
            self.pieces.append(Piece(page, k, begin, size, offset, count, box))
