"""Loaders. The training stream is a function of seed and draw number alone, so it resumes exactly."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch.utils.data as torchdata
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetCatalog,
    DatasetFromList,
    build_detection_test_loader,
    get_detection_dataset_dicts,
)
from detectron2.data.build import filter_images_with_only_crowd_annotations, trivial_batch_collator
from detectron2.utils import comm

from ..errors import InputError
from .region_columns import RegionEntries
from .semi_supervised import Entries, share_of, split_by_label
from .workers import OutOfMemory, WatchedMapper

Mapper = Callable[[dict[str, Any]], dict[str, Any]]


class ShuffledStream(torchdata.Dataset[dict[str, Any]]):
    """Draw ``n`` of an endless shuffled stream, mapped; the same for every process and resumption.

    Detectron2's ``TrainingSampler`` starts its stream anew after an interruption, and augmentation there
    depends on the worker; here a draw's number decides both the image and its augmentation.

    Of the first N draws floor(N * ``unlabeled_ratio``) are ``unlabeled`` entries, spread evenly; both
    kinds are shuffled on their own.

    In place of an entry that cannot be read comes the next of its kind, and what is drawn says so under
    ``skipped``: (file name, what is wrong with it) of each. ``known_skips`` are draws that skipped so many
    before, and do again, be their files sound by now. After more than ``max_skipped`` of one draw, nothing
    but ``skipped`` is drawn.
    """

    def __init__(
        self,
        dataset_dicts: Entries,
        mapper: Mapper,
        seed: int,
        unlabeled: Entries = (),
        unlabeled_ratio: float = 0.0,
        max_skipped: int = 0,
        known_skips: Mapping[int, int] | None = None,
    ):
        self.labeled = _Epochs(dataset_dicts, seed)
        self.unlabeled = _Epochs(unlabeled, seed, 1)
        self.unlabeled_ratio = unlabeled_ratio
        self.mapper = mapper
        self.seed = seed
        self.max_skipped = max_skipped
        self.known_skips = known_skips or {}

    def __getitem__(self, draw: int) -> Any:
        skipped: list[tuple[str, str]] = []
        known = self.known_skips.get(draw, 0)
        while len(skipped) <= self.max_skipped:
            entry = self._entry(draw, known + len(skipped))
            np.random.seed((self.seed, draw))  # the mapper's transforms draw from numpy's global state
            try:
                drawn = self.mapper(entry)
            except OutOfMemory:
                raise
            except InputError as e:
                skipped.append((entry["file_name"], str(e)))
            else:
                return {**drawn, "skipped": skipped} if skipped else drawn
        return {"skipped": skipped}

    def _entry(self, draw: int, ahead: int) -> Any:
        """What is drawn, or the entry that comes so many after it among those of its kind."""
        num_unlabeled = share_of(draw, self.unlabeled_ratio)  # before this draw
        if share_of(draw + 1, self.unlabeled_ratio) > num_unlabeled:
            return self.unlabeled[num_unlabeled + ahead]
        return self.labeled[draw - num_unlabeled + ahead]


class _Epochs:
    """Entry ``n`` of shuffled epochs, one after the other."""

    def __init__(self, entries: Entries, seed: int, *stream: int):
        self.entries = entries
        self.seed = seed
        self.stream = stream
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __getitem__(self, n: int) -> Any:
        epoch, position = divmod(n, len(self.entries))
        if self._epoch != epoch:
            random = np.random.default_rng((self.seed, epoch, *self.stream))
            self._epoch, self._order = epoch, random.permutation(len(self.entries))
        return self.entries[self._order[position]]


def training_entries(cfg: CfgNode) -> Entries:
    """A sequence of the dataset dicts of DATASETS.TRAIN, as Detectron2 filters them."""
    if not cfg.DATASETS.TRAIN:  # Detectron2 would refuse
        return []
    datasets = [DatasetCatalog.get(name) for name in cfg.DATASETS.TRAIN]
    filter_empty = cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    if not any(isinstance(d, RegionEntries) for d in datasets):
        del datasets
        return get_detection_dataset_dicts(cfg.DATASETS.TRAIN, filter_empty=filter_empty)
    if filter_empty:
        datasets = [
            d.annotated() if isinstance(d, RegionEntries) else filter_images_with_only_crowd_annotations(d)
            for d in datasets
        ]
    return torchdata.ConcatDataset([d for d in datasets if len(d)])


def build_train_loader(
    cfg: CfgNode,
    mapper: Mapper,
    start_iter: int,
    end_iter: int,
    for_student: bool = True,
    known_skips: Mapping[int, int] | None = None,
) -> torchdata.DataLoader[Any]:
    """Batches of iterations ``start_iter`` to ``end_iter`` for this process, each entry through ``mapper``.

    One iteration draws SOLVER.ACCUMULATE_BATCHES batches of SOLVER.IMS_PER_BATCH images, each batch
    split over the processes. What it draws from: :func:`mhkd.data.semi_supervised.split_by_label`; what it
    skips: :class:`ShuffledStream`.
    """
    labeled, unlabeled = split_by_label(cfg, training_entries(cfg), for_student)
    ratio = cfg.MHKD.UNLABELED_RATIO if unlabeled else 0.0
    world, rank, batch = comm.get_world_size(), comm.get_rank(), cfg.SOLVER.IMS_PER_BATCH
    if batch % world:
        raise InputError(f"SOLVER.IMS_PER_BATCH {batch} must be a multiple of {world} processes")
    per_rank, per_iter = batch // world, batch * cfg.SOLVER.ACCUMULATE_BATCHES
    draws = [
        start + rank * per_rank + i
        for start in range(start_iter * per_iter, end_iter * per_iter, batch)
        for i in range(per_rank)
    ]
    workers, most = cfg.DATALOADER.NUM_WORKERS, cfg.DATALOADER.MAX_SKIPPED_IMAGES
    mapper = WatchedMapper(mapper, workers)
    stream = ShuffledStream(labeled, mapper, cfg.SEED, unlabeled, ratio, most, known_skips)
    return torchdata.DataLoader(
        stream,
        batch_size=per_rank,
        sampler=draws,
        num_workers=workers,
        collate_fn=trivial_batch_collator,
    )


class MappedImages(torchdata.Dataset[dict[str, Any]]):
    """Dataset dicts, each through a mapper.

    Detectron2's own shares no memory with workers that begin as new processes, as those of one of several
    processes do, and they would import Detectron2 before what makes it importable.
    """

    def __init__(self, dataset_dicts: list[dict[str, Any]], mapper: Callable[[dict[str, Any]], Any]):
        self.entries, self.mapper = DatasetFromList(dataset_dicts, copy=False), mapper

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> Any:
        return self.mapper(self.entries[number])


def build_test_loader(
    cfg: CfgNode, name: str, mapper: Callable[[dict[str, Any]], Any]
) -> torchdata.DataLoader[Any]:
    """The images of a dataset in their order, one a batch, this process's share of them."""
    workers = cfg.DATALOADER.NUM_WORKERS
    entries = get_detection_dataset_dicts(name, filter_empty=False)
    return build_detection_test_loader(
        MappedImages(entries, WatchedMapper(mapper, workers)), mapper=None, num_workers=workers
    )
