"""The curves of a stored record, decoded when they are read: most reports show few of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.contract.errors import StoreError
from harness.contract.records.readable import readable_curve
from harness_results.store.database.base import CHECK
from harness_results.store.database.decoding import DamagedError, from_packed


class PackedCurves(Mapping[str, Any]):
    """The curves of one record by name. Each access decodes the curve anew and keeps nothing.

    Args:
        packed: name -> compressed JSON.
    """

    def __init__(self, packed: Mapping[str, bytes]) -> None:
        self._packed = packed

    def __getitem__(self, name: str) -> Any:
        """Return a curve.

        Raises:
            StoreError: it is damaged.
        """
        packed = self._packed[name]
        try:
            return readable_curve(from_packed(packed))
        except DamagedError as error:
            raise StoreError(
                f"the store is damaged: the curve {name!r} of a record cannot be read ({error}). "
                f"{CHECK}."
            ) from error

    def __contains__(self, name: object) -> bool:
        return name in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)
