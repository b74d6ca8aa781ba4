"""``mhkd detect`` as the Digital Slide Archive starts it, with the arguments of the XML beside this file."""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputImageFile", type=Path)
    parser.add_argument("student")
    parser.add_argument("outputAnnotationFile")
    parser.add_argument("--score_threshold", type=float, default=-1.0)
    parser.add_argument("--slide_mpp", type=float, default=0.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "mhkd", "detect", str(args.inputImageFile)]
        command += ["--student", args.student, "--out", out]
        if args.score_threshold >= 0:
            command += ["--score-threshold", str(args.score_threshold)]
        if args.slide_mpp > 0:
            command += ["--slide-mpp", str(args.slide_mpp)]
        status = subprocess.run(command).returncode
        if status == 0:
            found = Path(out, args.inputImageFile.name, "detections_dsa.json")
            shutil.copyfile(found, args.outputAnnotationFile)
    return status


if __name__ == "__main__":
    sys.exit(main())
