import subprocess
import sys

from mhkd.cli import main
from mhkd.config import add_mhkd_config
from mhkd.schedules import get_schedule

import pytest
from click.testing import CliRunner
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from support import CONFIGS, REPO


def train_net(*arguments):
    return subprocess.run(
        [sys.executable, REPO / "projects/MHKD/train_net.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=REPO,
    )


@pytest.mark.parametrize("command", sorted(main.commands))
def test_help_explains_every_command_and_option(command):
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert len(main.commands[command].help.split()) > 5


@pytest.mark.slow
def test_bad_config_is_one_line_and_a_nonzero_exit(disks_cfg, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(disks_cfg.dump())
    for arguments, message in (
        (["--config-file", "nowhere.yaml"], "'nowhere.yaml': no such file"),
        (["--config-file", config, "MHKD.SCHEDULE", "mhdk"], "unknown schedule 'mhdk'"),
        (["--config-file", config, "MODEL.BACKBONE.NAME", "nothing"], "'nothing' found in 'BACKBONE'"),
        (
            ["--config-file", config, "--num-gpus", 2, "--dist-url", "auto", "MHKD.STAGE", 7],
            "no step 7",
        ),
    ):
        result = train_net(*arguments)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr + result.stdout
        errors = [x for x in result.stderr.splitlines() if x.startswith("train_net.py: error: ")]
        assert len(errors) == 1 and message in errors[0]


def test_make_slides_writes_what_it_names(tmp_path):
    arguments = ["make-slides", str(tmp_path), "-n", "1", "--size-px", "1024"]
    arguments += ["--num-glomeruli", "2", "4"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "slide_000.tiff").is_file() and (tmp_path / "slide_000.geojson").is_file()


@pytest.mark.parametrize("config", sorted(p for p in CONFIGS.rglob("*.yaml")), ids=lambda p: p.stem)
@pytest.mark.slow
def test_every_config_builds_its_networks(config):
    cfg = get_cfg()
    add_mhkd_config(cfg)
    cfg.merge_from_file(str(config))
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg)
    if cfg.MODEL.META_ARCHITECTURE == "DirectDetector":
        assert model.student is None and not get_schedule(cfg.MHKD.SCHEDULE).steps
    else:
        assert model.student.backbone.output_shape() == model.teacher.backbone.output_shape()
