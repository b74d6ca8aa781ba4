"""The losses of a training step, each a registered function of what an iteration computed.

A loss of your own is a file that ``--with`` names::

    import torch
    from mhkd.losses import LOSS_REGISTRY, Iteration, needs

    @LOSS_REGISTRY.register()
    @needs("f_l", "f_h")
    def cosine(it: Iteration) -> torch.Tensor:
        '''1 - cos(f_L, f_H), mean over elements and levels.'''
        return torch.stack([1 - torch.cosine_similarity(it.f_l[k], it.f_h[k]).mean() for k in it.f_h]).mean()

Any schedule may then have it, ``weights: {detect: 1, cosine: 0.5}``.
"""

# The order of these modules is the registry's, in which an iteration sums its losses.
from .classification import (
    ClassifierIteration,
    attention,
    attention_plus,
    cross_entropy,
    feature_matching,
    grad_cam,
    pixel_wise_bicubic,
    pixel_wise_maxpool,
    soft,
)
from .detection import detect
from .features import adaptive, basic, global_feature_loss
from .local import local, local_feature_loss
from .output import output
from .peers import fgd_focal, focal_loss, pearson_loss, pkd
from .registry import (
    LOSS_REGISTRY,
    NEEDS,
    OF_CLASSIFIER,
    OF_DETECTOR,
    OF_TEACHER,
    Features,
    Iteration,
    needs,
    needs_of,
)

__all__ = [
    "LOSS_REGISTRY",
    "NEEDS",
    "OF_CLASSIFIER",
    "OF_DETECTOR",
    "OF_TEACHER",
    "ClassifierIteration",
    "Features",
    "Iteration",
    "adaptive",
    "attention",
    "attention_plus",
    "basic",
    "cross_entropy",
    "detect",
    "feature_matching",
    "fgd_focal",
    "focal_loss",
    "global_feature_loss",
    "grad_cam",
    "local",
    "local_feature_loss",
    "needs",
    "needs_of",
    "output",
    "pearson_loss",
    "pixel_wise_bicubic",
    "pixel_wise_maxpool",
    "pkd",
    "soft",
]
