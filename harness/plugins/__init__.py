"""The boundary to plugins: they are loaded, asked and checked here, and trusted nowhere else."""

from harness.plugins.catalog import Plugins
from harness.plugins.discovery import load_plugins

__all__ = ["Plugins", "load_plugins"]
