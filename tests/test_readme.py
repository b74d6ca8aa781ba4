"""What README and docs say to type, and where they say to look."""

import re
import shlex

from mhkd.cli import main

import click
import pytest
from support import REPO

PLACES = ("*.md", "docs/*.md", "datasets/*.md", "projects/*/*.md")
PAGES = sorted(p.relative_to(REPO).as_posix() for place in PLACES for p in REPO.glob(place))


def _commands(page):
    """Words of every line within a code block that calls mhkd or make."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", (REPO / page).read_text(), re.MULTILINE | re.DOTALL)
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        words = shlex.split(line.split(" #")[0]) if re.match(r" *(\.venv/bin/)?(mhkd|make) ", line) else []
        if words:
            yield words[0].rsplit("/")[-1], words[1:]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_exists(page):
    targets = re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.MULTILINE)
    for program, (name, *words) in _commands(page):
        if program == "make":
            assert name in targets and all("=" in word for word in words)
            continue
        options = [p for p in main.commands[name].params if isinstance(p, click.Option)]
        known = {o for p in options for o in (*p.opts, *p.secondary_opts)}
        assert {w.split("=")[0] for w in words if re.match("--?[a-z]", w)} <= known


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    text = (REPO / page).read_text()
    for link in re.findall(r"\]\((?!https?://)([^)]+)\)", text):
        name, _, anchor = link.partition("#")
        target = (REPO / page).parent / name if name else REPO / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)", target.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings], link
