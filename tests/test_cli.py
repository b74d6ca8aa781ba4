import subprocess
import sys

from mhkd.cli import main
from mhkd.config import add_mhkd_config
from mhkd.engine.program import Command
from mhkd.engine.program import main as train
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


@pytest.fixture
def config(disks_cfg, tmp_path):
    (tmp_path / "config.yaml").write_text(disks_cfg.dump())
    return tmp_path / "config.yaml"


@pytest.mark.parametrize("options, message", [
    (["MHKD.SCHEDULE", "mhdk"], "unknown schedule 'mhdk'"),
    (["MODEL.BACKBONE.NAME", "nothing"], "'nothing' found in 'BACKBONE'"),
])  # fmt: skip
def test_bad_config_is_one_line_and_a_nonzero_exit(config, capsys, options, message):
    with pytest.raises(SystemExit) as end:
        train(Command(config, options, program="train_net.py"))
    shown = capsys.readouterr()
    err = f"{shown.err}\n{end.value.code}"  # Python prints a text and exits with 1
    _check_one_line(shown.out, err, message)


@pytest.mark.slow
@pytest.mark.parametrize("arguments, message", [
    (["--config-file", "nowhere.yaml"], "'nowhere.yaml': no such file"),
    (["--num-gpus", 2, "--dist-url", "auto", "MHKD.STAGE", 7], "no step 7"),
])  # fmt: skip
def test_one_line_is_all_of_several_processes(config, arguments, message):
    arguments = arguments if "--config-file" in arguments else ["--config-file", config, *arguments]
    result = train_net(*arguments)
    assert result.returncode == 1
    _check_one_line(result.stdout, result.stderr, message)


def _check_one_line(out, err, message):
    assert "Traceback" not in out + err
    errors = [x for x in err.splitlines() if x.startswith("train_net.py: error: ")]
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
    elif model.task == "detection":
        of_student, of_teacher = model.student.backbone.output_shape(), model.teacher.backbone.output_shape()
        assert {k: s.stride for k, s in of_student.items()} == {k: s.stride for k, s in of_teacher.items()}
    else:
        assert model.student is not None and model.task == cfg.MHKD.TASK
