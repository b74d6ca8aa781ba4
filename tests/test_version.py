"""The version has one place."""

import configparser

from mhkd.version import __version__

import yaml
from support import REPO


def test_metadata_read_the_packages_version():
    metadata = configparser.ConfigParser()
    metadata.read(REPO / "setup.cfg")
    assert metadata["metadata"]["version"] == "attr: mhkd.version.__version__"
    assert str(yaml.safe_load((REPO / "CITATION.cff").read_text())["version"]) == __version__
