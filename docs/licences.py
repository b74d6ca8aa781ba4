"""Which licence each package of requirements/lock.txt has, as the installed packages say of themselves.

``python docs/licences.py`` writes docs/licences.md, or fails: one is neither permissive nor an exception.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
REQUIREMENTS = REPO / "requirements"
OUT = REPO / "docs" / "licences.md"

PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "ISC", "MIT",
    "MIT-0", "MIT-CMU", "PSF-2.0", "Zlib",
}  # fmt: skip
# What packages say in other words than SPDX's.
SPDX = {
    "Apache 2.0": "Apache-2.0", "Apache 2.0 License": "Apache-2.0", "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause", "BSD License": "BSD-3-Clause", "3-Clause BSD License": "BSD-3-Clause",
    "FreeBSD": "BSD-2-Clause", "MIT License": "MIT", "ISC License": "ISC", "PSFL": "PSF-2.0",
    "MIT licensed, as found in the LICENSE file": "MIT", "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
}  # fmt: skip
# Those that do not say it where it is looked for, and those of other systems.
NAMED = {
    "faster-coco-eval": "Apache-2.0", "yacs": "Apache-2.0", "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",
    "colorama": "BSD-3-Clause", "httpx2-jsfetch": "BSD-3-Clause",
}  # fmt: skip
# Why a package is here that is not permissive, or has something in its wheel that is not.
EXCEPTIONS = {
    "openslide-bin": "OpenSlide and the libraries it reads with, partly LGPL, as libraries of their own",
    "openslide-python": "LGPL; imported as it is",
    "pyvips-binary": "libvips and the libraries it reads with, LGPL, as shared libraries of their own",
    "opencv-python": "its wheel has FFmpeg and Qt, LGPL, as shared libraries of their own; no video is read",
    "shapely": "its wheel has GEOS, LGPL, as a shared library of its own",
    "certifi": "MPL: a list of certificates, as it is",
    "tqdm": "MPL for parts of it, as they are",
    "hypothesis": "MPL; for the tests alone",
    "pathspec": "MPL; for the tests alone",
}
NVIDIA = "NVIDIA's libraries, which torch's wheel for Linux asks for; only used with a GPU of NVIDIA's"


_ABOUT = """\
# Licences of what is installed beside MHKD

`make licences` writes this page from what the packages of [`lock.txt`](../requirements/lock.txt) say of
themselves, and fails on one whose licence is neither permissive nor named here. MHKD itself is Apache-2.0,
and so is Detectron2. Its package has OpenSeadragon (BSD-3-Clause) for the page and a font (DejaVu's licence)
for pictures.

## Not permissive

None is changed, and none becomes a part of MHKD's own files.

| package | licence | what it is, and why it is here |
|---|---|---|"""
_ALL = """\
## All

`[detect]` is what a laboratory installs.

| package | version | licence | `[detect]` |
|---|---|---|---|"""


def locked(name: str) -> dict[str, list[str]]:
    """Package -> its versions, of which the Python and the system decide, of a file of requirements/."""
    found: dict[str, list[str]] = {}
    text = (REQUIREMENTS / name).read_text()
    for package, version in re.findall(r"^([\w.-]+)==([^ ;\\]+)", text, re.MULTILINE):
        found.setdefault(package, []).append(version)
    return found


def licence(package: str) -> str:
    """As SPDX writes it; what the package says, where that is none of its words."""
    if package in NAMED:
        return NAMED[package]
    said = metadata(package)
    classifiers = [c.rpartition(" :: ")[2] for c in said.get_all("Classifier", []) if c.startswith("License")]
    text = said.get("License") or ""
    short = text if len(text) < 60 and text != "UNKNOWN" else ""
    found = said.get("License-Expression") or short or " AND ".join(SPDX.get(c, c) for c in classifiers)
    return SPDX.get(found, found)


def exception(package: str) -> str | None:
    """Why one that is not permissive is here."""
    return NVIDIA if package.startswith(("nvidia-", "cuda-toolkit")) else EXCEPTIONS.get(package)


def is_permissive(expression: str) -> bool:
    """Whether all that an expression names is, of licences to choose from too."""
    bare = re.sub(r" WITH [\w.-]+", "", expression)
    names = {name for name in re.split(r"[()\s]+|\bAND\b|\bOR\b", bare) if name}
    return bool(names) and names <= PERMISSIVE


def page() -> str:
    """The text of docs/licences.md.

    Raises:
        PackageNotFoundError: a package of the lock is not installed.
        ValueError: one is neither permissive nor an exception.
    """
    all_of_it, detect = locked("lock.txt"), locked("lock-detect.txt")
    rows: list[str] = []
    exceptions: dict[tuple[str, str], list[str]] = {}
    for package, versions in all_of_it.items():
        expression, reason = licence(package), exception(package)
        if not is_permissive(expression) and not reason:
            raise ValueError(
                f"{package}: {expression or 'no licence'} is neither permissive nor an exception"
            )
        if reason:
            exceptions.setdefault((expression, reason), []).append(package)
        mark = "yes" if package in detect else ""
        rows.append(f"| {package} | {', '.join(versions)} | {expression} | {mark} |")
    return "\n".join([
        _ABOUT,
        *(f"| {', '.join(names)} | {of} | {why} |" for (of, why), names in exceptions.items()),
        "",
        _ALL,
        *rows,
        "",
    ])  # fmt: skip


if __name__ == "__main__":
    try:
        OUT.write_text(page())
    except (PackageNotFoundError, ValueError) as e:
        sys.exit(f"docs/licences.py: {e}")
