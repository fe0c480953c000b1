"""Accelerators as the system's drivers know them: whether there is one, and which to use. No framework is imported."""

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


def gpu_variables(gpu: str) -> dict[str, str]:
    """Return the variables by which NVIDIA's and AMD's drivers show a new process one GPU alone.

    ``gpu`` is the number that the driver's own listing gives it.
    """
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": gpu,
        "HIP_VISIBLE_DEVICES": gpu,
    }
