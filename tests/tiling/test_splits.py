import random

import mhkd  # noqa: F401  (before Detectron2)
from mhkd.errors import InputError
from mhkd.slides.file_names import slide_name
from mhkd.tiling.splits import assign_splits, split_by_slide

import pytest

SLIDES = [f"scans/{patient}_{k}.svs" for patient in ("ann", "bob", "cem", "dee") for k in (1, 2)]
PATTERN = r"^(?P<patient>[a-z]+)_"


def test_split_by_slide():
    slides = [f"{i}.svs" for i in range(20)]
    splits = split_by_slide(slides, {"train": 0.7, "val": 0.2, "test": 0.1}, seed=3)
    assert {k: len(v) for k, v in splits.items()} == {"train": 14, "val": 4, "test": 2}
    assert sorted(sum(splits.values(), [])) == sorted(slides)
    shuffled = random.Random(0).sample(slides, 20)
    assert split_by_slide(shuffled, {"train": 0.7, "val": 0.2, "test": 0.1}, seed=3) == splits
    assert split_by_slide(slides, {"train": 0.7, "val": 0.2, "test": 0.1}, seed=4) != splits
    counts = split_by_slide(slides, {"train": 3, "val": 2})
    assert [len(v) for v in counts.values()] == [3, 2]
    assert not set(counts["train"]) & set(counts["val"])
    few = split_by_slide(slides[:3], {"train": 0.9, "val": 0.05, "test": 0.05})
    assert [len(v) for v in few.values()] == [1, 1, 1]
    for sizes in ({"train": 19, "val": 2}, {"train": 0.5, "val": 0.2}, {"train": 0, "val": 2}):
        with pytest.raises(InputError):
            split_by_slide(slides, sizes)
    with pytest.raises(InputError, match="2 slides"):
        split_by_slide(slides[:2], {"train": 0.8, "val": 0.1, "test": 0.1})


@pytest.mark.parametrize("n", range(2, 40))
def test_shares_use_every_slide(n):
    splits = split_by_slide([str(i) for i in range(n)], {"train": 2 / 3, "val": 1 / 3})
    assert sum(map(len, splits.values())) == n
    assert abs(len(splits["train"]) - n * 2 / 3) < 1


def test_slides_of_a_patient_stay_together():
    patients, splits = assign_splits(SLIDES, pattern=PATTERN, shares="train=0.5,val=0.5", seed=1)
    assert patients["scans/bob_2.svs"] == "bob"
    assert sorted(splits["train"] + splits["val"]) == SLIDES
    sides = [{patients[s] for s in splits[name]} for name in ("train", "val")]
    assert len(sides[0]) == len(sides[1]) == 2 and not sides[0] & sides[1]
    shuffled = random.Random(0).sample(SLIDES, len(SLIDES))
    again = assign_splits(shuffled, pattern=PATTERN, shares="train=0.5,val=0.5", seed=1)[1]
    assert again == splits


def test_by_default_four_fifths_of_the_slides_train():
    patients, splits = assign_splits([f"{k}.svs" for k in range(10)])
    assert patients == {} and {k: len(v) for k, v in splits.items()} == {"train": 8, "val": 2}


def test_folds_score_every_slide_once():
    patients, splits = assign_splits(SLIDES, pattern=PATTERN, folds=3)
    assert set(splits) == {f"fold{k}_{side}" for k in range(3) for side in ("train", "val")}
    assert sorted(sum((splits[f"fold{k}_val"] for k in range(3)), [])) == SLIDES
    for k in range(3):
        train, val = splits[f"fold{k}_train"], splits[f"fold{k}_val"]
        assert sorted(train + val) == SLIDES
        assert not {patients[s] for s in train} & {patients[s] for s in val}
    for folds in (1, 5):
        with pytest.raises(InputError, match=f"--folds {folds}.* 4 patients"):
            assign_splits(SLIDES, pattern=PATTERN, folds=folds)


def test_a_table_names_splits_and_patients(tmp_path):
    table = tmp_path / "splits.csv"
    table.write_text(
        "\ufeffSlide;Patient;Split;Remark\n"
        + "".join(f"{s[6:]};{s[6:9]};{'val' if 'dee' in s else 'train'};\n" for s in SLIDES[:-1])
        + "dee_2;dee;val;named without its ending\nzoe_1.svs;zoe;val;not given\n"
    )
    patients, splits = assign_splits(SLIDES, table=str(table))
    assert patients["scans/ann_1.svs"] == "ann"
    assert splits == {"train": SLIDES[:6], "val": SLIDES[6:]}
    with pytest.raises(InputError, match="leave out --split"):
        assign_splits(SLIDES, table=str(table), shares="train=1")
    table.write_text("slide,patient\n" + "".join(f"{s[6:]},{s[6:9]}\n" for s in SLIDES))
    by_table = assign_splits(SLIDES, table=str(table), folds=2)
    assert by_table == assign_splits(SLIDES, pattern=PATTERN, folds=2)


@pytest.mark.parametrize(
    "content,message",
    [
        ("", "needs the columns"),
        ("slide\nann_1\n", "needs the columns"),
        ("slide,split\nann_1.svs,train\n", "no row for the slide ann_2"),
        ("slide,split\nann_1.svs,train\nann_2.svs,\n", "ann_2.svs has an empty value"),
        ("slide,split\nann_1.svs,train\nann_1.svs,val\n", "different rows for .* ann_1"),
        ("slide,split\nann_1.svs,../x\nann_2.svs,val\n", "no name for a split"),
        (
            "slide,patient,split\nann_1.svs,ann,train\nann_2.svs,ann,val\n",
            "patient ann is in both train and val",
        ),
    ],
)
def test_faults_of_tables(tmp_path, content, message):
    table = tmp_path / "splits.csv"
    table.write_text(content)
    with pytest.raises(InputError, match=message):
        assign_splits(SLIDES[:2], table=str(table))


def test_a_table_and_a_pattern_agree_or_fail(tmp_path):
    table = tmp_path / "splits.csv"
    table.write_text("slide,split\nann_1.svs,train\nann_2.svs,val\n")
    with pytest.raises(InputError, match="patient ann is in both"):
        assign_splits(SLIDES[:2], table=str(table), pattern=PATTERN)
    with pytest.raises(InputError, match="there is no such table"):
        assign_splits(SLIDES, table=str(tmp_path / "gone.csv"))


@pytest.mark.parametrize(
    "options,message",
    [
        ({"shares": "train=0.8"}, "must sum to 1"),
        ({"shares": "train=nan,val=nan"}, "must sum to 1"),
        ({"shares": "train"}, "write e.g. --split"),
        ({"shares": "a/b=1"}, "no name for a split"),
        ({"shares": "train=1", "folds": 2}, "exclude each other"),
        ({"pattern": "("}, "--patient-pattern"),
        ({"pattern": "(ann)"}, "no group named patient"),
        ({"pattern": "(?P<patient>ann)"}, "bob_1.svs: .* finds no patient"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        assign_splits(SLIDES, **options)


def test_names():
    assert [slide_name(p) for p in ("x/a.svs", "a.b.ndpi", "a.ome.tiff", "a.OME.TIF")] == [
        "a",
        "a.b",
        "a",
        "a",
    ]


def test_one_patient_for_all_slides_is_said():
    with pytest.raises(InputError, match="all 2 slides are of one patient, slide, .*--patient-pattern"):
        assign_splits(["slide_000.tiff", "slide_001.tiff"], pattern="^(?P<patient>[^_]+)_")
