"""Devices by name, and the numeric settings of one trainer, which must not affect another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from harness.contract import Dtype, HarnessError, UnavailableError, UsageError
from harness_jax.cpu_devices import CPU_DEVICES

STATE_DTYPES: dict[Dtype, DTypeLike] = {
    "float32": np.float32, "float64": np.float64, "bfloat16": jnp.bfloat16, "tf32": np.float32,
}  # fmt: skip
# The beginning of the error that a step raises while it runs.
NOT_CONVERGED = "jax:deer has not converged"
PLATFORMS = {"gpu": "cuda"}  # what JAX calls an NVIDIA GPU


def devices() -> dict[str, jax.Device]:
    """Return the devices by name, the default platform's first: ``cuda``, ``cuda:1``, ``cpu``."""
    named: dict[str, jax.Device] = {}
    for device in [*jax.local_devices(), *_cpu()]:
        platform = PLATFORMS.get(device.platform, device.platform)
        index = sum(name.split(":")[0] == platform for name in named)
        if device not in named.values():
            named[platform if index == 0 else f"{platform}:{index}"] = device
    return named


def find_device(name: str) -> jax.Device:
    """Return the device of this name; ``cuda:0`` is ``cuda``.

    Raises:
        UsageError: there is none.
    """
    named = devices()
    device = named.get(name.removesuffix(":0"))
    if device is None:
        raise UsageError(f"jax has no device {name!r} here; it has: {', '.join(named)}")
    return device


def find_devices(name: str, count: int) -> list[jax.Device]:
    """Return ``count`` devices of the kind ``name``, or the one device of this name.

    Raises:
        UsageError: there is none.
        UnavailableError: there are fewer.
    """
    first = find_device(name)
    alike = [device for label, device in devices().items() if label.partition(":")[0] == name]
    if count == 1:
        return [first]
    if len(alike) < count:
        fix = f"set {CPU_DEVICES}={count} before JAX starts" if name == "cpu" else "ask for fewer"
        raise UnavailableError(
            f"jax has {len(alike)} of the {count} {name} devices asked for in this process: {fix}"
        )
    return alike[:count]


def put(
    values: ArrayLike, dtype: DTypeLike, device: jax.Device | jax.sharding.Sharding
) -> jax.Array:
    """Copy to the device, or to all of a sharding, as ``dtype``; for 64 bits, inside ``settings``.

    The host's copy is made here, because JAX on a CPU may keep and reuse the buffer it is given.
    """
    array: jax.Array = jax.device_put(np.array(values, dtype), device)
    return array


@contextmanager
def settings(device: jax.Device, dtype: Dtype) -> Iterator[None]:
    """Use ``device``, 64-bit numbers for float64 only, and TF32 only on request."""
    with ExitStack() as stack:
        stack.enter_context(_x64(dtype == "float64"))
        stack.enter_context(jax.default_device(device))
        stack.enter_context(jax.default_matmul_precision(matmul_precision(dtype)))
        yield


@contextmanager
def failures() -> Iterator[None]:
    """Replace XLA's traceback by one sentence about the failed step.

    Raises:
        HarnessError: an iteration has not converged.
    """
    try:
        yield
    except RuntimeError as error:
        sentence = re.search(rf"{NOT_CONVERGED}: .*", str(error))
        if sentence is None:
            raise
        raise HarnessError(sentence.group()) from error


def matmul_precision(dtype: Dtype) -> str:
    """Return JAX's word for how exact a product of float32 matrices is."""
    return "tensorfloat32" if dtype == "tf32" else "highest"


def _x64(enabled: bool) -> AbstractContextManager[Any]:
    """Return JAX's context manager, which older versions have in ``jax.experimental``."""
    home: Any = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    manager: AbstractContextManager[Any] = home.enable_x64(enabled)
    return manager


def _cpu() -> list[jax.Device]:
    try:
        return list(jax.local_devices(backend="cpu"))
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
        return []
