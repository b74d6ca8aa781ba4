import subprocess
import sys

import pytest

# A Detectron2 that is compiled, or not; of which much was imported before, or nothing.
IMPORTS = """
import sys
if sys.argv[1]:
    import detectron2
    detectron2.__path__.append(sys.argv[1])
import mhkd.compat
from detectron2 import _C
import detectron2.data.transforms
print(_C.get_compiler_version())
"""
NETWORKS = """
import sys
import mhkd
assert not {"torch", "detectron2"} & set(sys.modules)
from detectron2.engine import DefaultPredictor
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY
assert "LowResolutionRCNN" in META_ARCH_REGISTRY and "StudentBackbone" in BACKBONE_REGISTRY

def ours():
    return [name for name in sys.modules if name.startswith("mhkd.")]

below = [name for name in ours() if not name.startswith("mhkd.modeling")]
assert "mhkd.losses.registry" in below
for name in list(sys.modules):
    if name.partition(".")[0] in ("mhkd", "detectron2"):
        del sys.modules[name]
for name in below:
    __import__(name)
assert "detectron2.data" in sys.modules and "detectron2.modeling" not in sys.modules, ours()
"""


def run(code, *arguments):
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.slow
def test_a_compiled_detectron2_keeps_its_own_extension(tmp_path):
    (tmp_path / "_C.py").write_text("def get_compiler_version():\n    return 'compiled here'\n")
    assert run(IMPORTS, str(tmp_path)) == "compiled here"


@pytest.mark.parametrize("imported_before", [False, True])
@pytest.mark.slow
def test_detectron2_imports_whether_compiled_or_not(tmp_path, imported_before):
    # Says something, and the transforms' import of PIL.Image.LINEAR works.
    assert run(IMPORTS, str(tmp_path) if imported_before else "")


@pytest.mark.slow
def test_stock_detectron2_finds_our_networks_and_they_are_never_registered_half_imported():
    """What they import from outside themselves must leave detectron2.modeling to them."""
    run(NETWORKS)
