"""Whether this machine can have an accelerator at all, from its device files: so that asking imports no framework."""

from __future__ import annotations

import sys
from pathlib import Path

# The device files of NVIDIA's and AMD's Linux drivers, and of the Windows Subsystem for Linux.
DEVICE_FILES = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))


def device_file() -> Path | None:
    """Return an accelerator driver's device file, if there is one."""
    return next((path for path in DEVICE_FILES if path.exists()), None)


def may_have_accelerator() -> bool:
    """Return False only where no framework could find an accelerator: on Linux without any driver's device file."""
    return sys.platform != "linux" or device_file() is not None
