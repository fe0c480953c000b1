"""Plugins: discovery, questions to them, and checks of their answers. All distrust of third parties lives here."""

from harness.plugins.discovery import Plugins, load_plugins

__all__ = ["Plugins", "load_plugins"]
