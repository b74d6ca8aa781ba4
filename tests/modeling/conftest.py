import pytest
import torch
from detectron2.modeling import build_model


@pytest.fixture(params=["upsampled", "native"])
def model(tiny_cfg, request):
    tiny_cfg.MODEL.STUDENT.INPUT = request.param
    torch.manual_seed(0)
    return build_model(tiny_cfg)
