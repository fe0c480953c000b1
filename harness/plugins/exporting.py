"""Calls an exporter safely: what it returns is text or bytes, and an error names it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.contract.errors import HarnessError, PluginError
from harness.contract.records.exporter import Exporter
from harness.contract.records.record import Record
from harness.contract.wording import error_text, shortened
from harness.plugins.validation import invalid_answer


def exported(
    exporter: Exporter, records: Sequence[Record], label: str, *, per_seed: bool = False
) -> str | bytes:
    """Return what an exporter makes of these records.

    Raises:
        PluginError: it failed, or returned something else than text or bytes.
        HarnessError: its own, such as a library that is not installed.
    """
    try:
        content = exporter.export(records, per_seed=per_seed)
    except HarnessError:
        raise
    except Exception as error:
        raise PluginError(f"{label} failed: {shortened(error_text(error))}") from error
    if not isinstance(content, str | bytes):
        raise invalid_answer("export", "text or bytes", content, label)
    return content
