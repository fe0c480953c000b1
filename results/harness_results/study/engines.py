"""Variants that run this project's own code under the name of a framework."""

from __future__ import annotations

from collections.abc import Iterable

from harness.contract.records.record import Record

FRAMEWORKS = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX"}
OWN_CODE = {
    "native": "this project's C kernel, called from",
    "fused": "this project's derived backward pass, in operations of",
    "parallel": "this project's scan over all time steps, in operations of",
    "numba": "this project's loops compiled by Numba, called from",
}


def variant_legend(records: Iterable[Record]) -> list[str]:
    """Return one line that explains such variants, if the records have any."""
    engines = dict.fromkeys((record.trial.variant, record.trial.backend) for record in records)
    parts = []
    for variant, what in OWN_CODE.items():
        names = [name for backend, name in FRAMEWORKS.items() if (variant, backend) in engines]
        parts += [f"{variant}: {what} {_listed(names)}"] if names else []
    return [" · ".join(parts)] if parts else []


def _listed(names: list[str]) -> str:
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
