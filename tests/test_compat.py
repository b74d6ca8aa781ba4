import subprocess
import sys

CHECK = """
import sys
import detectron2
detectron2.__path__.append(sys.argv[1])
import mhkd.compat
from detectron2 import _C
import detectron2.data.transforms
print(_C.get_compiler_version())
"""


def run(folder):
    result = subprocess.run([sys.executable, "-c", CHECK, folder], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_compiled_detectron2_keeps_its_own_extension(tmp_path):
    (tmp_path / "_C.py").write_text("def get_compiler_version():\n    return 'compiled here'\n")
    assert run(tmp_path) == "compiled here"


def test_detectron2_imports_whether_compiled_or_not(tmp_path):
    assert run(tmp_path)  # says something, and the transforms' import of PIL.Image.LINEAR works
