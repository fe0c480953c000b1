"""Parameters or gradients as views of one vector, for norm, clipping and update."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.contract import Array, ArrayDtype, Parameters, UsageError


class Flat:
    """Named tensors in one vector.

    Attributes:
        vector: (n,), zeros at first.
        views: name -> view of ``vector`` in the tensor's shape; these objects are never replaced.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: ArrayDtype) -> None:
        self.dtype = dtype
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        self.vector: Array = np.zeros(sum(sizes), dtype)
        pieces = np.split(self.vector, np.cumsum(sizes)[:-1])
        self.views = {
            name: piece.reshape(shape)
            for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
        }

    def assign(self, parameters: Parameters) -> None:
        """Copy these values in, cast to the vector's dtype.

        Raises:
            UsageError: a name or shape is not the model's.
        """
        if parameters.keys() != self.views.keys():
            odd = sorted(parameters.keys() ^ self.views.keys())
            raise UsageError(
                f"parameters do not fit the model: {', '.join(odd)} missing or unexpected"
            )
        for name, view in self.views.items():
            if np.shape(parameters[name]) != view.shape:
                raise UsageError(
                    f"parameter {name} must have shape {view.shape}, "
                    f"not {np.shape(parameters[name])}"
                )
            view[...] = parameters[name]

    def copy(self) -> Parameters:
        """Return copies by name."""
        return {name: view.copy() for name, view in self.views.items()}
