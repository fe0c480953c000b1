"""The process of one probe: ``python -P -m harness.probing.worker REQUEST``.

REQUEST is JSON: ``checkpoints``, ``probe``, ``block`` (plugins that are not loaded) and ``output``,
the file that receives a result per checkpoint, one line of JSON each.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness.contract import HarnessError
from harness.contract.wording import error_text, shortened
from harness.measure.reaper import die_with_parent
from harness.plugins import load_plugins
from harness.plugins.probe_validation import checked_findings
from harness.probing.network import trained_network


def result_of(checkpoint: Path, name: str, block: list[str]) -> dict[str, Any]:
    """Return the figures and curves of a probe, or why it ``failed``."""
    plugins = load_plugins(block)
    label = plugins.label("probe", name)
    try:
        probe, network = plugins.probe(name), trained_network(plugins, checkpoint)
        start = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, probe.seconds)  # its alarm ends this process
        with np.errstate(all="ignore"):
            findings = probe.measure(network)
        signal.setitimer(signal.ITIMER_REAL, 0)
        seconds = time.monotonic() - start
        return {**checked_findings(probe, findings, label), "seconds": seconds}
    except HarnessError as error:
        return {"failed": shortened(str(error))}
    except Exception as error:  # noqa: BLE001 (a plugin may raise anything)
        return {"failed": f"{shortened(error_text(error))}; {label}"}


def main(request: str) -> None:
    """Run one probe on each checkpoint in turn, and write each result when it is there."""
    die_with_parent()
    asked = json.loads(request)
    with Path(asked["output"]).open("w", encoding="utf-8") as output:
        for checkpoint in map(Path, asked["checkpoints"]):
            result = result_of(checkpoint, asked["probe"], asked["block"])
            output.write(json.dumps(result, allow_nan=False) + "\n")
            output.flush()


if __name__ == "__main__":
    main(sys.argv[1])
