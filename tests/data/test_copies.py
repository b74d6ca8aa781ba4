"""The same bytes under two names, in training and test."""

import os
import re
import shutil

from mhkd.data.copies import copies
from mhkd.data.inspect import inspect_datasets
from mhkd.engine import prepare_datasets

from support import DISKS, tiny_config, write_disks


def test_other_bytes_of_the_same_size_are_no_copies(tmp_path):
    for name, content in (("a", b"12"), ("b", b"21"), ("c", b"12"), ("d", b"123")):
        (tmp_path / name).write_bytes(content)
    a, b, c, d = (str(tmp_path / name) for name in "abcd")
    assert copies([a, d], [b, c, a]) == [(a, c)]  # what is one file is no copy of it
    assert copies([a, str(tmp_path / "missing")], [str(tmp_path / "missing"), d]) == []
    os.link(a, tmp_path / "e")
    assert copies([a], [str(tmp_path / "e")]) == []


def test_a_training_and_inspect_say_it(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    folder = write_disks(tmp_path)
    cfg = tiny_config(tmp_path / "output", DISKS)
    prepare_datasets(cfg)
    assert "cop" not in caplog.text
    shutil.copyfile(folder / "images" / "train_0.png", folder / "images" / "val_1.png")
    prepare_datasets(cfg)
    assert re.search(
        "1 of disks_val are copies of images of disks_train.*val_1.png is .*train_0.png", caplog.text
    )
    _, warnings = inspect_datasets(["disks"])
    assert "train_0.png" in warnings.examples["images in two splits, under two names"][0]
