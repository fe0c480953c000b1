"""Accelerators as the system's drivers show them. No framework is imported here."""

from __future__ import annotations

import sys
from pathlib import Path

# The device files of NVIDIA's and AMD's Linux drivers, and of the Windows Subsystem for Linux.
DEVICE_FILES = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))


def device_file() -> Path | None:
    """Return the device file of an accelerator driver; None if there is no such file."""
    return next((path for path in DEVICE_FILES if path.exists()), None)


def may_have_accelerator() -> bool:
    """Return False only if there cannot be an accelerator: on Linux without a device file."""
    return sys.platform != "linux" or device_file() is not None


def gpu_variables(gpu: str) -> dict[str, str]:
    """Return the environment variables that limit a new process to one NVIDIA or AMD GPU.

    Args:
        gpu: its number in the listing of the driver.
    """
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": gpu,
        "HIP_VISIBLE_DEVICES": gpu,
    }
