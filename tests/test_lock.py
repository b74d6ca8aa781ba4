"""requirements/lock*.txt: every version with hashes, and docs/licences.md: the licence of each."""

import importlib.util
import re
from importlib.metadata import PackageNotFoundError

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support import REPO

REQUIREMENTS = REPO / "requirements"
PINS = {
    "lock-build.txt": ["build.txt"],
    "lock-detect.txt": ["detect.txt"],
    "lock.txt": ["base.txt", "detect.txt", "build.txt", "test.txt", "detr.txt"],
}


def pins(name):
    """{package: version} of a file of pins."""
    lines = [line.partition("#")[0].strip() for line in (REQUIREMENTS / name).read_text().splitlines()]
    asked = [Requirement(line) for line in lines if line and not line.startswith("-r ")]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in asked}


def entries(lock):
    """(package, version, marker, hashes) of a lock."""
    text = re.sub(r"^\s*#.*$", "", (REQUIREMENTS / lock).read_text(), flags=re.MULTILINE)
    for entry in re.split(r"\n(?=\S)", text.replace("\\\n", " ")):
        if entry.strip():
            asked, *hashes = re.split(r"\s--hash=", entry.strip())
            one = Requirement(asked)
            yield canonicalize_name(one.name), str(one.specifier).removeprefix("=="), one.marker, hashes


def test_all_locks_are_tested():
    assert {path.name for path in REQUIREMENTS.glob("lock*.txt")} == set(PINS)


@pytest.mark.parametrize("lock", PINS)
def test_every_pin_is_in_the_lock_and_every_file_has_its_hash(lock):
    found = {}
    for name, number, _, hashes in entries(lock):
        assert number and hashes and all(re.fullmatch("sha256:[0-9a-f]{64}", h.strip()) for h in hashes), name
        found.setdefault(name, set()).add(number)
    for file in PINS[lock]:
        assert {name: {number} for name, number in pins(file).items()}.items() <= found.items()


def test_benchmarks_are_measured_with_the_versions_of_the_lock():
    locked = {name: number for name, number, *_ in entries("lock.txt")}
    asked = {name: number for name, number in pins("benchmark.txt").items() if name in locked}
    assert asked and asked == {name: locked[name] for name in asked}


@pytest.mark.parametrize("lock", PINS)
def test_no_lock_says_where_its_files_come_from(lock):
    text = (REQUIREMENTS / lock).read_text()
    assert "://" not in text and not re.search(r"^\s*(--\w*index|--find-links|--trusted)", text, re.MULTILINE)


def test_a_laboratory_gets_what_is_tested_on_its_system_too():
    everything = {(name, number) for name, number, *_ in entries("lock.txt")}
    assert {(name, number) for name, number, *_ in entries("lock-detect.txt")} <= everything
    windows = {
        "sys_platform": "win32",
        "platform_system": "Windows",
        "os_name": "nt",
        "platform_machine": "AMD64",
    }
    on_windows = {
        name for name, _, marker, _ in entries("lock-detect.txt") if not marker or marker.evaluate(windows)
    }
    assert {*pins("detect.txt"), "colorama"} <= on_windows  # which click and tqdm ask for there alone


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_a_python_has_one_version_of_each(python):
    environment = {"python_version": python, "python_full_version": f"{python}.1"}
    names = [n for n, _, marker, _ in entries("lock.txt") if not marker or marker.evaluate(environment)]
    assert len(names) == len(set(names)) > 100


def licences():
    spec = importlib.util.spec_from_file_location("licences", REPO / "docs" / "licences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_licence_of_every_package_is_listed():
    listed = re.findall(
        r"^\| ([\w.-]+) \| ([\w., ]+) \| (\S.*?) \| (yes)? ?\|$", licences().OUT.read_text(), re.MULTILINE
    )
    expected, detect = {}, {name for name, *_ in entries("lock-detect.txt")}
    for name, number, *_ in entries("lock.txt"):
        expected.setdefault(name, []).append(number)
    assert {name: numbers.split(", ") for name, numbers, _, _ in listed} == expected
    assert {name for name, *_, mark in listed if mark} == detect
    permissive = {name for name, _, expression, _ in listed if licences().is_permissive(expression)}
    assert all(licences().exception(name) for name in set(expected) - permissive)
    assert set(licences().EXCEPTIONS) <= set(expected)


def test_the_page_of_licences_is_what_the_installed_packages_say():
    try:
        assert licences().page() == licences().OUT.read_text()
    except PackageNotFoundError as e:
        pytest.skip(f"not the environment of make setup: no {e}")


@pytest.mark.parametrize("expression, permissive", [
    ("MIT", True), ("MIT OR Apache-2.0", True), ("Apache-2.0 WITH LLVM-exception AND MIT", True), ("", False),
    ("LGPL-3.0-or-later", False), ("MIT AND (BSD-3-Clause OR GPL-2.0-only)", False), ("UNKNOWN", False),
])  # fmt: skip
def test_which_licences_are_permissive(expression, permissive):
    assert licences().is_permissive(expression) == permissive
