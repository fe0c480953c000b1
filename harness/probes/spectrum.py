"""``spectrum``: the size of the recurrent weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from harness.contract import Array
from harness.contract.probes import Curve, Findings, Probe, TrainedNetwork


class Spectrum(Probe):
    """The eigenvalues and the norm of the recurrent weights.

    A product of a gate with the state is one square matrix (H, H), in each layer. The figures are
    the largest over these matrices; a cell without recurrent weights has none.
    """

    name = "spectrum"
    figures: ClassVar[Mapping[str, str]] = {
        "radius": "largest modulus of an eigenvalue of a recurrent matrix",
        "norm": "largest singular value of a recurrent matrix",
    }

    def measure(self, network: TrainedNetwork) -> Findings:
        """Return radius and norm, and the moduli for the matrix with the largest radius."""
        matrices = _matrices(network)
        if not matrices:
            return Findings(dict.fromkeys(self.figures))
        moduli = [np.sort(np.abs(np.linalg.eigvals(matrix)))[::-1] for matrix in matrices]
        largest = max(moduli, key=lambda values: values[0])
        norms = [float(np.linalg.norm(matrix, 2)) for matrix in matrices]
        return Findings(
            {"radius": float(largest[0]), "norm": max(norms)},
            {"modulus": Curve("rank", range(1, len(largest) + 1), largest.tolist())},
        )


def _matrices(network: TrainedNetwork) -> list[Array]:
    """Return the square matrices of all layers, products and gates."""
    hidden = network.model.hidden
    return [
        block
        for layer in range(network.model.layers)
        for product in network.model.cell.products
        for block in network.parameters[f"weight_{product.name}_l{layer}"].reshape(
            -1, hidden, hidden
        )
    ]
