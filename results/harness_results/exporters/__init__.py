"""The targets of ``harness export``: one module each, loaded only when it is used.

A new target is a module here with a class ``Exporter`` that keeps the contract of ``contract.py``,
and its name in TARGETS.
"""

from __future__ import annotations

import importlib
from typing import cast

from harness.contract.errors import UnknownNameError
from harness_results.exporters.contract import TrialExporter

TARGETS = ("tensorboard", "mlflow")


def exporter(target: str) -> TrialExporter:
    """Return the exporter to ``target``.

    Raises:
        UnknownNameError: there is no such target.
        UnavailableError: its library is not installed.
    """
    if target not in TARGETS:
        raise UnknownNameError("target", target, TARGETS)
    return cast("TrialExporter", importlib.import_module(f"{__name__}.{target}").Exporter())
