"""The version of the harness, stated once: the package's metadata reads it from here."""

__version__ = "0.2.0"
