from mhkd.data import loader as loader_module
from mhkd.data.loader import ShuffledStream, build_train_loader
from mhkd.data.mapper import PairedResolutionMapper
from mhkd.data.registrar import ensure_registered
from mhkd.data.semi_supervised import share_of, split_by_label
from mhkd.engine import DistillationTrainer, prepare_datasets
from mhkd.errors import InputError

import numpy as np
import pytest
from support import write_disks


class Lazy:
    """Entries 0 to n - 1 that remember which of them were asked for."""

    def __init__(self, n):
        self.n, self.asked = n, []

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.asked.append(index)
        return {"n": index, "annotations": [{}]}


def batches(cfg, start, end, **options):
    return build_train_loader(cfg, PairedResolutionMapper(cfg, True), start, end, **options)


def numbers(entries):
    return [entries[k]["n"] for k in range(len(entries))]


@pytest.fixture
def mixed_cfg(disks_cfg, disks_root):
    """Of the 4 images of "disks" 2 are labelled; "more" has 3 others."""
    if not (disks_root / "more").exists():
        write_disks(disks_root, "more", (("new", 3),))
    disks_cfg.MHKD.LABELED_SHARE = 0.5
    disks_cfg.MHKD.UNLABELED = ("more_new",)
    disks_cfg.MHKD.UNLABELED_RATIO = 0.5
    ensure_registered([*disks_cfg.DATASETS.TRAIN, "more_new"])
    return disks_cfg


def test_shares_are_exact():
    assert [share_of(n, 0.29) for n in (3, 4, 100)] == [0, 1, 29]  # int(0.29 * 100) is 28


def test_a_smaller_share_is_part_of_a_larger_one_and_follows_from_the_seed(disks_cfg):
    def chosen(share, seed=0):
        disks_cfg.MHKD.LABELED_SHARE, disks_cfg.SEED = share, seed
        return set(numbers(split_by_label(disks_cfg, Lazy(40))[0]))

    shares = [chosen(s) for s in (0.001, 0.1, 0.25, 1.0)]
    assert [len(s) for s in shares] == [1, 4, 10, 40]
    assert shares[0] < shares[1] < shares[2] < shares[3]
    assert chosen(0.25) == shares[2] != chosen(0.25, seed=1)


def test_unlabelled_are_the_others_and_nothing_is_loaded(mixed_cfg):
    entries = Lazy(10)
    labeled, unlabeled = split_by_label(mixed_cfg, entries)
    assert (len(labeled), len(unlabeled), entries.asked) == (5, 5 + 3, [])
    assert set(numbers(labeled)).isdisjoint(unlabeled[k]["n"] for k in range(5))
    assert labeled[0]["annotations"] and unlabeled[0].keys() == {"n", "unlabeled"}
    assert unlabeled[7]["file_name"].endswith("new_2.png") and "annotations" not in unlabeled[7]
    mixed_cfg.MHKD.UNLABELED_RATIO = 0.0
    assert [len(x) for x in split_by_label(mixed_cfg, entries)] == [5, 0]


def test_unlabelled_draws_are_spread_evenly_and_both_kinds_have_their_epochs():
    labeled, unlabeled = "abc", "xy"

    def stream(ratio):
        return ShuffledStream(labeled, lambda entry: entry, 3, unlabeled, ratio)

    # floor(0.4 * N) of the first N draws: 0 0 1 1 2 2 2 3 3 4
    drawn = [stream(0.4)[n] for n in range(10)]
    assert [n for n, entry in enumerate(drawn) if entry in unlabeled] == [2, 4, 7, 9]
    drawn = [stream(0.5)[n] for n in range(12)]
    for entries in (labeled, unlabeled):
        mine = [entry for entry in drawn if entry in entries]
        epochs = [mine[k : k + len(entries)] for k in range(0, 6, len(entries))]
        assert all(sorted(epoch) == list(entries) for epoch in epochs)


def test_with_every_label_the_stream_is_what_it_is_without_these_keys(disks_cfg):
    ensure_registered(disks_cfg.DATASETS.TRAIN)
    student, teacher = (
        [x for batch in batches(disks_cfg, 0, 8, for_student=s) for x in batch] for s in (True, False)
    )
    order = [k + 1 for epoch in (0, 1) for k in np.random.default_rng((0, epoch)).permutation(4)]
    assert [x["image_id"] for x in student] == [x["image_id"] for x in teacher] == order
    assert all((a["image_lr"] == b["image_lr"]).all() for a, b in zip(student, teacher))
    assert all("instances" in x and "unlabeled" not in x for x in student)


def test_mixed_stream_resumes_and_is_the_same_with_workers_and_processes(mixed_cfg, monkeypatch):
    def draws(start, end):
        loader = batches(mixed_cfg, start, end)
        return [[(x["file_name"], int(x["image"].sum()), "instances" in x) for x in b] for b in loader]

    mixed_cfg.SOLVER.IMS_PER_BATCH = 2
    whole = draws(0, 8)
    assert sum(labeled for batch in whole for *_, labeled in batch) == 8
    assert len({name for batch in whole for name, _, labeled in batch if labeled}) == 2
    assert len({name for batch in whole for name, _, labeled in batch if not labeled}) == 5
    assert draws(5, 8) == whole[5:]
    mixed_cfg.DATALOADER.NUM_WORKERS = 2
    assert draws(0, 8) == whole
    mixed_cfg.DATALOADER.NUM_WORKERS = 0
    monkeypatch.setattr(loader_module.comm, "get_world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(loader_module.comm, "get_rank", lambda rank=rank: rank)
        assert draws(0, 8) == [[batch[rank]] for batch in whole]


def test_an_unlabelled_draw_has_both_views_and_no_instances(mixed_cfg):
    found = [x for batch in batches(mixed_cfg, 0, 6) for x in batch]
    assert [x.get("unlabeled", False) for x in found] == [False, True] * 3
    for x in found:
        assert ("instances" in x) != ("unlabeled" in x) and "annotations" not in x
        assert x["image"].shape == x["image_lr"].shape == (3, 96, 96)


@pytest.mark.parametrize("share, num_teacher", [(1.0, 4), (0.5, 2)])
def test_the_teachers_own_step_has_a_share_of_its_own_and_no_unlabelled_image(disks_cfg, share, num_teacher):
    disks_cfg.MHKD.LABELED_SHARE = 0.5
    disks_cfg.MHKD.TEACHER_LABELED_SHARE = share
    disks_cfg.MHKD.UNLABELED_RATIO = 0.5
    disks_cfg.MHKD.SCHEDULE = "offline"
    disks_cfg.MHKD.TEACHER_ITERS, disks_cfg.MHKD.STUDENT_ITERS = 4, 16
    prepare_datasets(disks_cfg)
    trainer = DistillationTrainer(disks_cfg)
    seen = []
    for step in trainer.steps[:2]:
        trainer.iter = step.start
        trainer.enter_step(step)
        seen.append({(x["image_id"], "instances" in x) for batch in trainer._batches for x in batch})
    teacher, student = seen
    assert len(teacher) == num_teacher and all(labeled for _, labeled in teacher)
    known = {x for x in student if x[1]}
    assert len(student) == 4 and len(known) == 2 and known <= teacher


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("LABELED_SHARE", 0.0, "LABELED_SHARE 0.0.*more than 0"),
        ("LABELED_SHARE", 1.5, "LABELED_SHARE 1.5.*at most 1"),
        ("TEACHER_LABELED_SHARE", 0.0, "TEACHER_LABELED_SHARE 0.0.*more than 0"),
        ("UNLABELED_RATIO", 1.5, "UNLABELED_RATIO 1.5.*at most 1"),
        ("UNLABELED_RATIO", -0.1, "UNLABELED_RATIO -0.1"),
        ("UNLABELED_RATIO", 0.5, "0.5: there is no unlabelled image: name datasets"),
        ("UNLABELED", ("disks_nowhere",), "disks_nowhere.*no annotation file"),
        ("UNLABELED", ("disks_val",), "slide is in both disks_val and disks_val"),
    ],
)
def test_bad_settings(disks_cfg, key, value, message):
    disks_cfg.MHKD[key] = value
    with pytest.raises(InputError, match=message):
        prepare_datasets(disks_cfg)


def test_one_image_leaves_none_unlabelled(disks_cfg):
    disks_cfg.MHKD.LABELED_SHARE = disks_cfg.MHKD.UNLABELED_RATIO = 0.5
    with pytest.raises(InputError, match="no unlabelled image"):
        split_by_label(disks_cfg, Lazy(1))
