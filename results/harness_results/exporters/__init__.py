"""Targets of ``harness export``: one module each, loaded when it is asked for, that writes a store's trials as files.

A further target is a module here with a class ``Exporter`` of the contract in ``contract.py``, and
its name in TARGETS.
"""

from __future__ import annotations

import importlib

from harness.contract.errors import UnknownNameError
from harness_results.exporters.contract import TrialExporter

TARGETS = ("tensorboard", "mlflow")


def exporter(target: str) -> TrialExporter:
    """Return the exporter to ``target``.

    Raises:
        UnknownNameError: there is none.
        UnavailableError: its library is not installed.
    """
    if target not in TARGETS:
        raise UnknownNameError("target", target, TARGETS)
    found: TrialExporter = importlib.import_module(f"{__name__}.{target}").Exporter()
    return found
