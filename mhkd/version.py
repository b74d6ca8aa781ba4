"""The version of the package; setup.cfg and the root read it here."""

__version__ = "0.2.0"
