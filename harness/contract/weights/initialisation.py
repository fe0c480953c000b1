"""Initial weights as a user states them: the name of a scheme, or a draw for each kind of tensor.

``recurrent=identity,input=glorot`` draws the recurrent weights and the input weights so, and all
other tensors as the scheme ``torch``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PARTS = ("recurrent", "input", "readout", "bias")  # the readout's weight; all biases
MATRIX_DRAWS = ("identity", "orthogonal", "glorot")  # which need rows and columns
SIZED_DRAWS = ("uniform", "normal")  # which take a number
_DRAWS = f"{', '.join(MATRIX_DRAWS)}, zeros, uniform:A or normal:S"
_NUMBER = r"[0-9.]+(e-?[0-9]+)?"
_DRAW = rf"({'|'.join(MATRIX_DRAWS)}|zeros|(uniform|normal):{_NUMBER})"
_PART = rf"({'|'.join(PARTS)})={_DRAW}"


@dataclass(frozen=True)
class Draw:
    """How a tensor is drawn.

    Attributes:
        name: ``identity``; ``orthogonal``, uniform over such matrices; ``glorot``,
            U(-a, a) with a = sqrt(6 / (rows + columns)); ``zeros``; ``uniform``, U(-size, size);
            or ``normal``, N(0, size^2). Weights of several gates are drawn for each gate by itself.
        size: of ``uniform`` and ``normal``, above 0.
    """

    name: str
    size: float | None = None

    def __str__(self) -> str:
        return self.name if self.size is None else f"{self.name}:{self.size:.15g}"


# Glorot & Bengio 2010 with Saxe et al. 2014; the IRNN of Le, Jaitly & Hinton 2015, section 3. What
# a scheme leaves out is drawn from U(-1/sqrt(H), 1/sqrt(H)), as ``torch.nn`` does.
SCHEMES: Mapping[str, Mapping[str, Draw]] = {
    "torch": {},
    "glorot": {
        "recurrent": Draw("orthogonal"),
        "input": Draw("glorot"),
        "readout": Draw("glorot"),
        "bias": Draw("zeros"),
    },
    "identity": {
        "recurrent": Draw("identity"),
        "input": Draw("normal", 0.001),
        "readout": Draw("normal", 0.001),
        "bias": Draw("zeros"),
    },
}
SCHEMA: Mapping[str, Any] = {
    "anyOf": [
        {"type": "string", "enum": [*SCHEMES]},
        {"type": "string", "pattern": rf"^{_PART}(,{_PART})*$"},
    ]
}


def draws_of(text: str) -> Mapping[str, Draw]:
    """Return part (of ``PARTS``) -> draw; a missing part is drawn as in the scheme ``torch``.

    Args:
        text: the name of a scheme, or ``PART=DRAW`` joined by commas.

    Raises:
        ValueError: the text has another form.
    """
    if text in SCHEMES:
        return SCHEMES[text]
    draws: dict[str, Draw] = {}
    for item in text.split(","):
        part, equals, name = (word.strip() for word in item.partition("="))
        if not equals or part not in PARTS:
            raise ValueError(
                f"{item.strip()!r} is none of {', '.join(SCHEMES)}, and no PART=DRAW with a part "
                f"of {', '.join(PARTS)}, as in recurrent=identity,input=glorot"
            )
        if part in draws:
            raise ValueError(f"{part} is set twice: leave one of them out")
        draws[part] = _draw(part, name)
    return draws


def normal_form(text: str) -> str:
    """Return the text in the form that trials keep, the same for all that mean the same.

    Raises:
        ValueError: the text has another form than ``draws_of`` takes.
    """
    draws = draws_of(text)
    if text in SCHEMES:
        return text
    return ",".join(f"{part}={draws[part]}" for part in PARTS if part in draws)


def _draw(part: str, text: str) -> Draw:
    name, colon, size = text.partition(":")
    if part == "bias" and name in MATRIX_DRAWS:
        raise ValueError(f"bias={name}: a bias is no matrix; write zeros, uniform:A or normal:S")
    if not colon and (name in MATRIX_DRAWS or name == "zeros"):
        return Draw(name)
    if name in SIZED_DRAWS and colon:
        try:
            number = float(size)
        except ValueError:
            number = math.nan
        if 0 < number <= 1e6:  # noqa: PLR2004
            return Draw(name, number)
        raise ValueError(f"{part}={text}: write a number above 0, as in {name}:0.1")
    raise ValueError(f"{part}={text}: write {_DRAWS}")
