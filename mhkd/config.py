"""The project's config keys, added to Detectron2's defaults, and configs read from files."""

import os
from typing import Any

from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg

from .errors import InputError
from .yaml_files import merge, one_line, parse_config, read_config


def load_cfg(path: str | os.PathLike[str], allow_base: bool = True) -> CN:
    """Every default and, over it, what a config file sets. Nothing in the file is executed or fetched.

    The only way that this project reads a config: Detectron2's own takes unsafe YAML.

    Args:
        allow_base: False for the config of an exported network, which is whole.

    Raises:
        InputError: it is missing or no config, or sets a key that does not exist or has another type.
    """
    own, base = read_config(path, allow_base)
    return _over_defaults(merge(own, base), path)


def parse_cfg(text: str, source: str | os.PathLike[str]) -> CN:
    """:func:`load_cfg` of a config that a checkpoint records as text.

    Args:
        source: the checkpoint, for error messages.
    """
    if not isinstance(text, str):
        raise InputError(f"{source}: records no config but a {type(text).__name__}")
    return _over_defaults(parse_config(text, source), source)


def _over_defaults(content: dict[str, Any], source: str | os.PathLike[str]) -> CN:
    cfg = get_cfg()
    add_mhkd_config(cfg)
    version = content.get("VERSION", cfg.VERSION)
    if version != cfg.VERSION:
        raise InputError(f"{source}: VERSION {str(version)[:50]}: only {cfg.VERSION} is known")
    empty = _empty_keys(content, cfg)
    if empty:
        raise InputError(f"{source}: {empty[0]} has no value: give it one, or remove it")
    try:
        cfg.merge_from_other_cfg(CN(_whole_as_float(content, cfg)))
    except (KeyError, ValueError, AssertionError, TypeError, RecursionError, MemoryError) as e:
        raise InputError(f"{source}: {one_line(e)}") from e
    return cfg


def _whole_as_float(value: Any, default: Any) -> Any:
    """2 where the default is 4.0 as 2.0, which yacs would refuse; of nodes, every value in them."""
    if isinstance(value, dict) and isinstance(default, dict):
        return {key: _whole_as_float(inner, default.get(key)) for key, inner in value.items()}
    is_whole = type(value) is int and abs(value) < 2**53
    return float(value) if is_whole and type(default) is float else value


def _empty_keys(content: dict[str, Any], cfg: CN, prefix: str = "") -> list[str]:
    """Keys without a value, which yacs takes for any type."""
    found = []
    for key, value in content.items():
        default = cfg.get(key)
        if value is None and default is not None:
            found.append(prefix + key)
        elif isinstance(value, dict) and isinstance(default, dict):
            found += _empty_keys(value, default, f"{prefix}{key}.")
    return found


def add_mhkd_config(cfg: CN) -> None:
    """Add every key of this project to ``cfg`` (a :func:`detectron2.config.get_cfg` node), in place.

    Ground truth, anchors, proposals and boxes live in high-resolution (HR) pixels for both networks.
    """
    # --- The two resolutions -------------------------------------------------------------------
    # HR pixels per low-resolution (LR) pixel, an integer. The paper: 4 (HuBMAP), 3 (LN).
    cfg.INPUT.LR_FACTOR = 4
    # How LR is derived from HR where the dataset brings no LR image: "area" (exact mean) | "lanczos".
    cfg.INPUT.LR_FILTER = "area"
    # Of an exported network: side in HR pixels of the images that it was scored on, for which the limits of
    # one image (TEST.DETECTIONS_PER_IMAGE, the RPN's) are meant. Taken from MIN_SIZE_TEST, which is 0 there,
    # so that DefaultPredictor leaves images at their own size. In training: 0.
    cfg.INPUT.TRAINED_SIZE_PX = 0
    # Probability of a horizontal and, on its own, of a vertical flip (tissue has no upright).
    cfg.INPUT.FLIP_PROB = 0.5
    # What is varied in training beside crop and flips, the same for both views: LR is made from the
    # changed HR; a real LR image (lr_file_name) is turned and recoloured, and neither view of such a
    # pair is scaled.
    cfg.INPUT.AUG = CN()
    cfg.INPUT.AUG.SCALE = (1.0, 1.0)  # least and greatest enlargement
    cfg.INPUT.AUG.QUARTER_TURNS = False
    cfg.INPUT.AUG.STAIN = (1.0, 1.0)  # least and greatest factor of the optical density
    cfg.INPUT.AUG.CHANNEL = 0.0  # each channel's own variation of it, as a share
    cfg.INPUT.AUG.SATURATION = (1.0, 1.0)  # least and greatest factor of the distance from grey
    cfg.INPUT.AUG.BRIGHTNESS = 0.0  # grey levels of 255, up and down
    cfg.INPUT.AUG.CONTRAST = (1.0, 1.0)  # least and greatest factor of the distance from mid-grey
    cfg.INPUT.AUG.HUE = 0.0  # greatest turn of the colours about the axis of greys, degrees, either way
    cfg.INPUT.AUG.BLUR_PX = 0.0  # greatest standard deviation of a Gaussian, HR pixels
    cfg.INPUT.AUG.JPEG_QUALITY = 0  # least quality, 1-100; 0: no JPEG
    # What a cheap scanner does to LR pixels, for datasets whose LR is made from HR. In training each strength
    # is drawn between none and this; in evaluation it is this: a test condition. Slide detection and
    # DefaultPredictor do not apply it, since a real scanner did already.
    cfg.INPUT.SCANNER = CN()
    cfg.INPUT.SCANNER.BLUR_PX = 0.0  # standard deviation of a Gaussian, LR pixels
    cfg.INPUT.SCANNER.NOISE = 0.0  # standard deviation, grey levels of 255
    cfg.INPUT.SCANNER.JPEG_QUALITY = 0  # 1-100; 0: no JPEG
    cfg.INPUT.SCANNER.PROB = 1.0  # share of the training images that go through it

    # What standardises pixels: "config" (MODEL.PIXEL_MEAN and PIXEL_STD as they stand) or "train" (the HR
    # images of DATASETS.TRAIN, measured before training and recorded with what is trained).
    cfg.INPUT.PIXEL_STATISTICS = "config"

    # Detectron2's TEST.AUG.ENABLED: a detector is scored with what its heads say of an image and its flips,
    # left to right, upside down and both, averaged; four times the work. MIN_SIZES, MAX_SIZE, FLIP: not read.

    # --- Networks ------------------------------------------------------------------------------
    # MODEL.WEIGHTS: what the teacher starts from, ImageNet's or COCO's weights, see docs/training.md; where
    # weights are only scored, those that are.
    cfg.MODEL.TEACHER = CN()
    # A teacher trained before: an exported `model_final.pth` or any training checkpoint. Step 0 is
    # then skipped. Empty: step 0 trains it.
    cfg.MODEL.TEACHER.WEIGHTS = ""
    # With META_ARCHITECTURE DirectDetector and schedule "direct": the detector that trains, on HR, alone.
    # DistilledRCNN needs GeneralizedRCNN.
    cfg.MODEL.TEACHER.META_ARCHITECTURE = "GeneralizedRCNN"

    cfg.MODEL.STUDENT = CN()
    # What the student's backbone sees: "upsampled" (the paper: LR brought to the HR size) or "native" (the LR
    # pixels themselves; its levels lie where the teacher's do, see mhkd/modeling/shifted.py). Native takes a
    # fraction of the time.
    cfg.MODEL.STUDENT.INPUT = "upsampled"
    # Of a native student alone (a classifier has DEPTH and STEM_OUT_CHANNELS); 0 and () are as the teacher
    # has it. Where FPN_CHANNELS or a classifier's channels differ, what distillation compares goes through a
    # 1 x 1 convolution, which trains along and is not exported.
    cfg.MODEL.STUDENT.DEPTH = 0  # 18, 34, 50, 101 or 152
    cfg.MODEL.STUDENT.STEM_OUT_CHANNELS = 0
    cfg.MODEL.STUDENT.RES2_OUT_CHANNELS = 0  # res3, res4, res5 have twice, four and eight times as many
    cfg.MODEL.STUDENT.STAGES = 4  # of res2 to res5; the teacher's levels beyond them are pooled from the last
    cfg.MODEL.STUDENT.LEVELS = ()  # of the teacher's, from the finest that it reaches: ("p3", "p4", "p5")
    cfg.MODEL.STUDENT.FPN_CHANNELS = 0  # the RPN has as many
    cfg.MODEL.STUDENT.FC_DIM = 0  # of the box head
    # The backbone that StudentBackbone wraps. Filled in, not by hand.
    cfg.MODEL.STUDENT.BACKBONE = ""

    # Classifiers: MODEL.RESNETS.DEPTH (18, 34, 50) and STEM_OUT_CHANNELS are the teacher's, norms are
    # GroupNorm. STRIDES: of the first convolution, the pooling behind it, stages 2, 3 and 4. At high factors
    # a student with lower ones keeps more cells of the last map.
    cfg.MODEL.RESNETS.STRIDES = [2, 2, 2, 2, 2]
    cfg.MODEL.STUDENT.STRIDES = []  # []: the teacher's

    # Basic Feature Adaptive module (paper section III-C2), one a feature level.
    cfg.MODEL.BFA = CN()
    # Levels that have one, as ["p5"]; finer ones then get what the next coarser of them gains, enlarged.
    # []: every level.
    cfg.MODEL.BFA.LEVELS = []
    cfg.MODEL.BFA.ENABLED = False  # recorded in an exported student; in training the schedule decides
    cfg.MODEL.BFA.CHANNELS = 64
    cfg.MODEL.BFA.NUM_BLOCKS = 4
    # Sub-pixel scale between the trunk and the output convolution, which strides back.
    cfg.MODEL.BFA.SCALE = 1
    cfg.MODEL.BFA.NORM = ""  # as in Detectron2: "", "BN", "GN", ...

    # Detection transformers (DABDETR, DINO), trained alone for comparison. The papers' sizes.
    cfg.MODEL.DETR = CN()
    cfg.MODEL.DETR.HIDDEN_DIM = 256
    cfg.MODEL.DETR.NUM_QUERIES = 300
    cfg.MODEL.DETR.ENCODER_LAYERS = 6
    cfg.MODEL.DETR.DECODER_LAYERS = 6
    cfg.MODEL.DETR.FEEDFORWARD_DIM = 2048
    cfg.MODEL.DETR.NUM_HEADS = 8
    cfg.MODEL.DETR.DROPOUT = 0.1
    cfg.MODEL.DETR.DENOISING_QUERIES = 100  # DINO's, of which half are contrastive

    # --- Schedule ------------------------------------------------------------------------------
    cfg.MHKD = CN()
    # What is trained for what: "detection", "classification", or a task of your own that a file of --with
    # registers.
    cfg.MHKD.TASK = "detection"
    cfg.MHKD.SCHEDULE = "mhkd"  # a name in mhkd.schedules.SCHEDULES, or a .yaml file
    # Where the student's weights start from: "scratch" (the paper) | "teacher" | "" = as the schedule says.
    cfg.MHKD.STUDENT_START = ""
    cfg.MHKD.STAGE = -1  # train up to this step (0 = teacher); -1 = the schedule's last
    cfg.MHKD.TEACHER_ITERS = 90000
    # The student's iterations over *all* steps, so that schedules of any length cost the same.
    cfg.MHKD.STUDENT_ITERS = 90000
    # Share of the images of DATASETS.TRAIN whose annotations the student's steps use, chosen by SEED; the
    # others count as unlabelled.
    cfg.MHKD.LABELED_SHARE = 1.0
    cfg.MHKD.TEACHER_LABELED_SHARE = 1.0  # the same of the teacher's own step, which skips the others
    cfg.MHKD.UNLABELED = ()  # further datasets, whose annotations are not used
    # Share of the student's draws that are unlabelled images: the teacher's detections stand in for their
    # ground truth. 0: they are left out. 1: there are no others, and DATASETS.TRAIN may be ().
    cfg.MHKD.UNLABELED_RATIO = 0.0
    # Instead of TEACHER_ITERS and STUDENT_ITERS, where more than 0: as many draws as the teacher's step has
    # labelled images, and the student's steps have images of any kind.
    cfg.MHKD.TEACHER_EPOCHS = 0
    cfg.MHKD.STUDENT_EPOCHS = 0
    # Learning rate x SOLVER.GAMMA at these shares of the teacher's step, and of all student steps together
    # (replaces SOLVER.STEPS, MAX_ITER).
    cfg.MHKD.LR_STEPS = (0.667, 0.889)
    # Instead of LR_STEPS, where it is not 0: learning rate x SOLVER.GAMMA every so many epochs, one being
    # the images of DATASETS.TRAIN once. The paper: 5.
    cfg.MHKD.LR_DECAY_EPOCHS = 0
    # True: warm-up and decays (or the cosine of SOLVER.LR_SCHEDULER_NAME WarmupCosineLR) anew in each
    # student step; else one course through all of them.
    cfg.MHKD.LR_RESTART = False
    # Online steps: learning rate of the teacher's parts, times the student's. 1: the same.
    cfg.MHKD.TEACHER_LR_FACTOR = 1.0
    # A teacher detection is ground truth for the `output` loss from this score on.
    cfg.MHKD.OUTPUT_SCORE_THRESH = 0.5
    # Classification. T of the `soft` loss: the paper prints none; 4 lets classes of a few per cent count.
    cfg.MHKD.TEMPERATURE = 4.0
    # Attention: maps of the "target" class or of "every" one; divided by their l2 norm or as they come.
    cfg.MHKD.ATTENTION = CN()
    cfg.MHKD.ATTENTION.CLASSES = "target"
    cfg.MHKD.ATTENTION.NORMALIZED = True
    cfg.MHKD.ORDERED_CLASSES = False  # a classifier's are grades, in their order: scores have kappa too
    # --eval-only: "student" on LR | "teacher" on HR | "direct" (the teacher on upsampled LR). A schedule
    # without a student scores both of the latter.
    cfg.MHKD.EVAL = "student"
    # The split that choices are made on: after a student's step the score threshold with the best F1 there is
    # recorded in threshold.json of its folder, for `mhkd detect`. "": nothing is chosen and 0.5 stays. It
    # may not be in DATASETS.TEST: choices are made on one split, figures come from another.
    cfg.MHKD.CHOOSE_ON = ""
    # Keep, beside each step's last student, the one with the highest AP on CHOOSE_ON of those that are scored
    # every TEST.EVAL_PERIOD iterations and at the end: <step>/best/. The next step starts from the last one.
    cfg.MHKD.KEEP_BEST = False
    # Recorded in an exported student: class names (set them where DATASETS.TRAIN is ()), and micrometres per
    # LR pixel (0 = not known).
    cfg.MHKD.CLASSES = []
    cfg.MHKD.LR_MPP = 0.0
    # The same of a classifier: how its images were cut from slides, by `mhkd tile --task classification`, so
    # that `mhkd classify` and `mhkd detect --grade` cut alike. MODE "centred" (a field around an object, its
    # side in micrometres or in longer sides of the object's box; 0: the other), "section", "whole" or "":
    # they were image files.
    cfg.MHKD.CUT = CN()
    cfg.MHKD.CUT.MODE = ""
    cfg.MHKD.CUT.FIELD_UM = 0.0
    cfg.MHKD.CUT.FIELD_BOXES = 0.0
    cfg.MHKD.CUT.MIN_TISSUE_UM2 = 0.0
    cfg.MHKD.CUT.MAX_HOLE_UM2 = 0.0

    # Images that cannot be read any more in the midst of a training are skipped, the next one taken instead,
    # and OUTPUT_DIR/skipped.json names them; with more of them the training ends. 0: with the first.
    cfg.DATALOADER.MAX_SKIPPED_IMAGES = 10

    # --- Solver --------------------------------------------------------------------------------
    cfg.SOLVER.OPTIMIZER = "SGD"  # MHKD's and Detectron2's | "Adam" | "AdamW", with their own BASE_LR
    # CLIP_GRADIENTS.CLIP_TYPE may also be "full_model": the norm of all gradients together, as DETRs want.
    # Images of an iteration (IMS_PER_BATCH x ACCUMULATE_BATCHES) that BASE_LR is meant for: with others the
    # rate is multiplied by their ratio (Goyal et al. 2017). Iterations stay as they are. 0: BASE_LR as it is.
    cfg.SOLVER.REFERENCE_IMS_PER_BATCH = 0
    # Decay of an exponential moving average of the weights, which is what a step is scored with, exports and
    # hands on; each step begins its own. 0: none. Of a step of n iterations at most about 1 - 10 / n.
    cfg.SOLVER.EMA_DECAY = 0.0
    # Batches of IMS_PER_BATCH whose gradients are averaged in one iteration.
    cfg.SOLVER.ACCUMULATE_BATCHES = 1
    # With AMP.ENABLED: "bfloat16" (no loss scaling; Ampere or newer, and CPUs) | "float16".
    cfg.SOLVER.AMP.DTYPE = "bfloat16"
    # Reproducible by default: data order and sampling follow from the seed and the iteration alone.
    cfg.SEED = 0
