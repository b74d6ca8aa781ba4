"""Training and evaluation."""

from .evaluation import evaluate, prepare_datasets, score_trained, views_to_score
from .exported import export_network, exported_cfg, load_exported, load_network
from .launch import launch
from .trainer import DistillationTrainer

__all__ = [
    "DistillationTrainer",
    "evaluate",
    "export_network",
    "exported_cfg",
    "launch",
    "load_exported",
    "load_network",
    "prepare_datasets",
    "score_trained",
    "views_to_score",
]
