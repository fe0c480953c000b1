"""A cell from a function of (ops, zx, state, own), for tests of the derivation."""

from functools import wraps

from harness.contract import Cell


def cell_of(step, gates=("a", "b"), states=("h",), products=(), vectors=(), name="stated"):
    """Return a cell with this step."""

    @wraps(step)
    def method(self, *arguments):
        return step(*arguments)

    attributes = {
        "name": name,
        "gates": gates,
        "states": states,
        "products": products,
        "vectors": vectors,
        "step": method,
    }
    return type("Stated", (Cell,), attributes)()
