"""Configs, schedules and cards: YAML, which strangers hand over."""

import json

from mhkd.engine.keys import flat
from mhkd.engine.settings import check_settings
from mhkd.engine.unread import load_run_cfg
from mhkd.packing import _read_card_file
from mhkd.schedules.files import read_schedule
from mhkd.yaml_files import read_config

import yaml
from _kinds import Kind
from _kinds_of_annotations import _folder, _link, _pipe, _put
from support import tiny_config

CONFIG = "config.yaml"
TAGS = (
    "!!python/object/apply:os.system [touch RAN]",
    "!!python/object/new:os.system [touch RAN]",
    "!!python/name:os.system ''",
    "!!python/module:antigravity ''",
    "!!python/object:subprocess.Popen {args: [touch, RAN]}",
    "!!python/tuple [1, 2]",
    "!!python/object/apply:eval [\"open('RAN', 'w')\"]",
    "!!python/object/apply:subprocess.check_output [[touch, RAN]]",
    "!!python/object/new:type {args: [a, !!python/tuple [], {}], state: {}}",
    "!!python/long 1",
    "!!binary aGFsbG8=",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!timestamp 2001-01-01",
    "!!python/complex 1j",
    "!include ../outside/secret.yaml",
    "!!js/function 'x'",
    "!ruby/object:Gem",
    "!!python/bytes YQ==",
    "!!merge x",
    "!!value x",
)


def configs(path):
    """Config files that no one should be hurt by."""
    found = {f"tag {tag[:40]}": _put(f"VERSION: 2\nOUTPUT_DIR: {tag}\n", path) for tag in TAGS}
    found |= {f"tag {tag[:40]} of a key": _put(f"VERSION: 2\n? {tag}\n: 1\n", path) for tag in TAGS[:8]}
    for value in (
        "http://127.0.0.1:9/x.yaml",
        "https://127.0.0.1:9/x.yaml",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "detectron2://x.yaml",
        "s3://x/y",
        "manifold://x",
        "//127.0.0.1/x.yaml",
        "config.yaml",
        ".",
        "",
        "~root/.x",
        "mine.py",
        "/dev/zero",
        "/proc/self/environ",
        ["config.yaml"] * 3,
        ["a.yaml"] * 1000,
        {"a": 1},
        7,
        None,
        [[]],
        "x" * 5000,
        "a\0b",
        "a\nb",
    ):
        found[f"base {value!r:.40}"] = _put(yaml.safe_dump({"VERSION": 2, "_BASE_": value}), path)
    for value in (
        "__import__('os').system('touch RAN')",
        "(" * 2000,
        "[" * 3000,
        "-" * 4000,
        "9" * 4000,
        "'a' * 10**9",
        "1e999",
        "{'a': {'b': 1}}",
        "lambda: 1",
        "f'{1}'",
        "b'x'",
        "0x" + "f" * 4000,
        "1" + "_1" * 1900,
    ):
        for key in ("OUTPUT_DIR", "SEED"):
            found[f"{key} {value[:20]!r}"] = _put(json.dumps({"VERSION": 2, key: value}), path)
    return found | {
        "laughs": _put(
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{chr(k + 1)}: &{chr(k + 1)} [{','.join([f'*{chr(k)}'] * 9)}]\n"
                for k in range(ord("a"), ord("i"))
            ),
            path,
        ),
        "merges": _put(
            "a: &a {x: 1}\n"
            + "".join(f"b{k}: &b{k} {{<<: [{', '.join(['*a'] * 20)}]}}\n" for k in range(200)),
            path,
        ),
        "merges of merges": _put(
            "a0: &a0 {k: 1}\n"
            + "".join(f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}]}}\n" for k in range(1, 40)),
            path,
        ),
        "an alias of itself": _put("a: &a [*a]\n", path),
        "deep": _put("a: " + "[" * 100_000, path),
        "deep by lines": _put("".join(" " * k + "a:\n" for k in range(700)), path),
        "flow that never ends": _put("{a: " * 50_000, path),
        "two documents": _put("VERSION: 2\n---\nVERSION: 2\n", path),
        "directives": _put("%YAML 9.9\n%TAG ! tag:evil,2000:\n---\nVERSION: 2\n", path),
        "keys that are none": _put("1: 2\nnull: 3\n[1, 2]: 3\n", path),
        "a key of lines": _put('"a\\nb\\e[2J": 1\n', path),
        "a key twice": _put("VERSION: 2\nVERSION: 2\n", path),
        "nulls": _put(b'VERSION: 2\nOUTPUT_DIR: "a\0b"\n', path),
        "sexagesimal": _put("VERSION: 2\nSEED: " + "1:" * 2000 + "1\n", path),
        "a year": _put("VERSION: 2\nSEED: 9999-99-99\n", path),
        "infinite": _put("VERSION: 2\nSOLVER: {BASE_LR: .inf, MOMENTUM: .nan}\n", path),
        "attributes": _put("VERSION: 2\n__class__: 1\n__immutable__: true\n__new_allowed__: true\n", path),
        "deprecated": _put("VERSION: 2\n__deprecated_keys__: [A]\n__renamed_keys__: {A: B}\n", path),
        "version 1": _put("VERSION: 1\nMODEL: {WEIGHT: x}\n", path),
        "large": _put("a: 1\n" * 100_000, path),
        "utf-16": _put("VERSION: 2\n".encode("utf-16"), path),
        "python": _put("import os\nos.system('touch RAN')\nmodel = 1\n", path),
        "a pipe": lambda folder: _pipe(folder / path),
        "a device": lambda folder: _link(folder / path, "/dev/zero"),
        "a folder": lambda folder: _folder(folder / path),
    }


def _config(folder):
    content = tiny_config("out", ["DATASETS.TRAIN", ("a_train",), "DATASETS.TEST", ("a_val",)])
    (folder / "mine.yaml").write_text(content.dump())
    (folder / CONFIG).write_text(
        "_BASE_: mine.yaml\nSEED: 7\nSOLVER: {BASE_LR: 0.01, IMS_PER_BATCH: 2}\nMHKD: {STUDENT_ITERS: 8}\n"
    )


def _read_config():
    cfg = load_run_cfg(CONFIG)
    check_settings(cfg)
    read_config(CONFIG)
    return sorted((k, str(v)) for k, v in flat(cfg).items())


def _stage(**changes):
    step = {"name": "basic", "weights": {"detect": 1, "basic": 1}, **changes}
    return _put(yaml.safe_dump({"steps": [step]}), "a.yaml")


SCHEDULE = (
    "student_start: scratch\nsteps:\n  - {name: basic, weights: {detect: 1, basic: 1}}\n"
    "  - {name: b, weights: {detect: 1.5}, bfa: true}\n"
)

KINDS = [
    Kind(
        "config",
        _config,
        _read_config,
        {CONFIG: "yaml", "mine.yaml": "yaml"},
        configs(CONFIG),
        named=("mine.yaml",),
        names_files=True,
        share=1.2,
    ),
    Kind(
        "schedule",
        lambda f: (f / "a.yaml").write_text(SCHEDULE),
        lambda: str(read_schedule("a.yaml")),
        {"a.yaml": "yaml"},
        configs("a.yaml")
        | {
            f"{key} {value!r:.20}": _stage(**{key: value})
            for key in ("name", "weights", "length", "teacher", "relative_to")
            for value in (
                "../x",
                [[1]],
                {"a": [1]},
                1e300,
                float("nan"),
                10**400,
                None,
                True,
                {1: 2},
                {"detect": "x"},
            )
        },
        share=0.6,
    ),
    Kind(
        "card",
        lambda f: (f / "card.yaml").write_text("name: a\nstain: PAS\n"),
        lambda: str(_read_card_file("card.yaml")),
        {"card.yaml": "yaml"},
        configs("card.yaml"),
        share=0.3,
    ),
]
