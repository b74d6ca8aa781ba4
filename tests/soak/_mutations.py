"""What is done to a sound file, to its structure and its bytes: the same random numbers, the same damage."""

import copy
import json
import math
import re

EXTREMES = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    -(2**31) - 1,
    2**63,
    10**25,
    -(10**25),
    10**400,
    0.0,
    -0.0,
    1e-320,
    1e300,
    -1e308,
    math.nan,
    math.inf,
    -math.inf,
    "",
    " ",
    "0",
    "-1",
    "1e999",
    "NaN",
    "1" * 5000,
    [],
    {},
    [[]],
    [{}],
    [None],
    {"": None},
    "null",
    "../outside/secret.yaml",
    "/etc/passwd",
    "/dev/zero",
    "file:///etc/passwd",
    "http://127.0.0.1:9/x",
    "\\\\server\\share",
    "$(touch RAN)",
    "`touch RAN`",
    "; touch RAN",
    "!!python/name:os.system",
    "{{7*7}}",
    "%s%n",
    "=1+1",
    "a\nb",
    "a\r\x1b[2Jb",
    "\x00",
    "\u202e\u0000",
    "\ud800",
    "\U0001f600",
    "\ufeff",
    "<script>alert(1)</script>",
    "é" * 300,
    "__class__",
    "x" * 100_000,
)
DEEP = "@@deep@@"  # stands for lists in lists: no library writes so many


def change_tree(tree, random):
    """A copy of JSON values, changed at one to three places."""
    tree = copy.deepcopy(tree)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        tree = _change_one(tree, random)
    return tree


def _change_one(tree, random):
    places = list(_places(tree))
    if not places:
        return random.choice(EXTREMES)
    node, key = random.choice(places)
    value = node[key]
    what = random.choice(
        (
            "replace",
            "replace",
            "replace",
            "drop",
            "twice",
            "rename",
            "retype",
            "number",
            "deep",
            "swap",
            "add",
        )
    )
    if what == "drop":
        del node[key]
    elif what == "twice":
        if isinstance(node, list):
            node.insert(key, copy.deepcopy(value))
        else:
            node[f"{key} "] = copy.deepcopy(value)
    elif what == "rename" and isinstance(node, dict):
        node[random.choice(("", "id", "type", "name", "\u0000", str(key).upper(), "x" * 3000))] = node.pop(
            key
        )
    elif what == "retype":
        node[key] = _retyped(value, random)
    elif what == "number" and isinstance(value, (int, float)) and not isinstance(value, bool):
        node[key] = random.choice(
            (-value, value * 1e9, value + 0.5, value + 1, value - 1, value / 1e9, str(value))
        )
    elif what == "deep":
        node[key] = DEEP
    elif what == "swap":
        other, there = random.choice(places)
        if _is_place(other, there) and not _within(value, other) and not _within(other[there], node):
            node[key], other[there] = other[there], value
    elif what == "add" and isinstance(node, dict):
        node[random.choice(("extra", "__proto__", "\u202e", "0"))] = copy.deepcopy(random.choice(EXTREMES))
    else:
        node[key] = copy.deepcopy(random.choice(EXTREMES))
    return tree


def _is_place(node, key):
    return key in node if isinstance(node, dict) else key < len(node)


def _within(tree, node):
    return tree is node or any(_within(n[k], node) for n, k in _children(tree))


def _children(node):
    if isinstance(node, dict):
        return [(node, key) for key in node]
    return [(node, key) for key in range(len(node))] if isinstance(node, list) else []


def _places(tree):
    for node, key in _children(tree):
        yield node, key
        yield from _places(node[key])


def _retyped(value, random):
    ways = [lambda v: [v], lambda v: {"value": v}, lambda v: str(v)[:1000], lambda v: [v] * 3]
    if isinstance(value, dict):
        ways += [lambda v: list(v.values()), lambda v: [[k, x] for k, x in v.items()]]
    if isinstance(value, list):
        ways += [lambda v: dict(enumerate(map(str, v))), lambda v: v[:1], lambda v: v * 100]
    if isinstance(value, str):
        ways += [lambda v: v.upper(), lambda v: v * 1000, lambda v: list(v)]
    return random.choice(ways)(value)


def json_text(tree, random=None):
    """JSON, which Python's NaN, Infinity and numbers of any length are to its own reader."""
    text = json.dumps(tree, ensure_ascii=random is not None and random.random() < 0.5)
    return text.replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000)


def encode(text):
    """UTF-8, whose half characters are what tools write that do not look."""
    return text.encode("utf-8", "surrogatepass")


def change_text(text, random):
    """XML, CSV, YAML: a word, an attribute, a line or a tag becomes another."""
    for _ in range(random.choice((1, 1, 2, 3))):
        parts = re.split(r'([\s"\'<>=,;:\[\]{}/]+)', text)
        k = random.randrange(len(parts))
        new = random.choice(EXTREMES)
        new = new if isinstance(new, str) else _written(new)
        what = random.randrange(6)
        if what < 3:
            parts[k] = new
        elif what == 3:
            parts[k] = ""
        elif what == 4:
            parts[k] *= random.choice((2, 1000))
        else:
            lines = text.split("\n")
            line = random.randrange(len(lines))
            lines[line : line + 1] = [lines[line]] * random.choice((0, 2, 50))
            parts = ["\n".join(lines)]
        text = "".join(parts)[:5_000_000]
    return text


def _written(value):
    """Numbers of any length too."""
    return f"1{'0' * 400}" if value == 10**400 and isinstance(value, int) else str(value)


def change_bytes(content, random):
    """Bits, bytes, blocks; cut short; another part of the file put in, or taken out."""
    content = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        if not content:
            break
        at = random.randrange(len(content))
        what = random.randrange(9)
        if what == 0:
            content[at] ^= 1 << random.randrange(8)
        elif what == 1:
            content[at] = random.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
        elif what == 2:
            del content[at:]
        elif what == 3:
            del content[at : at + random.choice((1, 2, 4, 100))]
        elif what == 4:
            content[at:at] = random.randbytes(random.choice((1, 4, 64)))
        elif what == 5:
            begin, size = random.randrange(len(content)), random.choice((1, 8, 200))
            content[at : at + size] = content[begin : begin + size]
        elif what == 6:
            size = random.choice((2, 4, 8))
            content[at : at + size] = random.choice((b"\xff", b"\0", b"\x7f")) * size
        elif what == 7:
            content[at : at + 2] = content[at : at + 2][::-1]
        else:
            content[at:at] = content[:at][-random.choice((10, 1000)) :]
    return bytes(content)
