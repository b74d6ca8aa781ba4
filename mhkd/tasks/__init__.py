"""What is trained for what: a task's data, scores and networks, behind one interface."""

from .classification import ClassificationTask
from .detection import DetectionTask
from .task import TASK_REGISTRY, VIEWS, Task, get_task

__all__ = ["TASK_REGISTRY", "VIEWS", "ClassificationTask", "DetectionTask", "Task", "get_task"]
