"""Random cells for hypothesis: a step is a short program over gates, states, vectors, products."""

from dataclasses import dataclass

from hypothesis import strategies as st

from harness.contract import Cell, Product

UNARY = {
    "sigmoid": lambda ops, x: ops.sigmoid(x),
    "tanh": lambda ops, x: ops.tanh(x),
    "relu": lambda ops, x: ops.relu(x),
    "exp": lambda ops, x: ops.exp(ops.tanh(x)),
    "log": lambda ops, x: ops.log(0.1 + ops.softplus(x)),
    "softplus": lambda ops, x: ops.softplus(x),
    "sqrt": lambda ops, x: ops.sqrt(ops.absolute(x) + 0.1),
    "absolute": lambda ops, x: ops.absolute(x),
    "positive": lambda ops, x: ops.positive(x),
    "mean": lambda ops, x: ops.mean(x),
    "normalise": lambda ops, x: ops.normalise(x),
    "complement": lambda ops, x: 1.0 - x,
    "scale": lambda ops, x: -0.7 * x,
    "quotient": lambda ops, x: 2.0 / (1.5 + ops.tanh(x)),
}
BINARY = {
    "sum": lambda ops, x, y: x + y,
    "difference": lambda ops, x, y: x - y,
    "times": lambda ops, x, y: x * y,
    "divide": lambda ops, x, y: x / (1.5 + ops.tanh(y)),
    "maximum": lambda ops, x, y: ops.maximum(x, y),
}
SPACE = 64  # operands are drawn below it, and counted round


@dataclass(frozen=True)
class Taken:
    """The instruction that takes a product."""

    product: int
    operand: int | None  # None: computed inside the step; else the index of a state
    inside: int


class RandomCell(Cell):
    """A cell whose step runs a program.

    Args:
        counts: of gates, states and vectors.
        products: declared.
        program: instructions, each ``Taken`` or (operation, operand, operand).
        ends: of each state, which value it becomes.
    """

    name = "random"
    gates = ("a",)

    def __init__(self, counts, products, program, ends):
        gates, states, vectors = counts
        self.gates = tuple("abcdef"[:gates])
        self.states = ("h", "c", "n", "m")[:states]
        self.vectors = tuple(f"u_{at}" for at in range(vectors))
        self.products, self.program, self.ends = products, program, ends
        self.recurrent = bool(products)

    def step(self, ops, zx, state, own):
        """Run the program; a value is any result before."""
        values = [*ops.split(zx, len(self.gates)), *state, *own]
        for instruction in self.program:
            values += self._results(ops, values, state, instruction)
        return tuple(
            values[end % len(values)] + (0.1 * old if end % 3 else 0.0)
            for end, old in zip(self.ends, state, strict=True)
        )

    def _results(self, ops, values, state, instruction):
        count = len(values)
        if isinstance(instruction, Taken):
            product = self.products[instruction.product]
            inside = values[instruction.inside % count] * state[-1]
            at = instruction.operand
            array = ops.product(product.name, inside if at is None else state[at])
            pieces = ops.split(array, len(product.gates or self.gates))
            own_gate = [values[self.gates.index(gate)] for gate in product.gates or self.gates]
            sums = [gate + piece for gate, piece in zip(own_gate, pieces, strict=True)]
            return [*pieces, *sums] if instruction.inside % 2 else sums
        name, first, second = instruction
        x, y = values[first % count], values[second % count]
        if name in UNARY:
            return [UNARY[name](ops, x)]
        if name in BINARY:
            return [BINARY[name](ops, x, y)]
        wide = ops.tanh(ops.concatenate([x + values[0], y + values[0]]) * 0.5)  # "wide"
        left, right = ops.split(wide, 2)
        return [left, right, ops.mean(wide)]

    def __repr__(self):
        return f"RandomCell({self.gates}, {self.products}, {self.program}, {self.ends})"


@st.composite
def random_cells(draw, most=10, *, most_states=4, with_products=True):
    """Draw a cell of 1 to 6 gates, 1 to 4 states, 0 to 3 vectors and 0 to 2 products."""
    gates, states = draw(st.integers(1, 6)), draw(st.integers(1, most_states))
    names, operand = tuple("abcdef"[:gates]), st.integers(0, SPACE - 1)
    operations = st.sampled_from([*UNARY, *BINARY, "wide"])
    program = draw(st.lists(st.tuples(operations, operand, operand), min_size=1, max_size=most))
    products = []
    kinds = [(), ("hh",), ("hh", "hn"), ("hn", "hh")] if with_products else [()]
    for name in draw(st.sampled_from(kinds)):
        some = draw(st.none() | st.sets(st.sampled_from(names), min_size=1).map(sorted))
        products.append(Product(name, some and tuple(some), draw(st.booleans())))
        at = draw(st.integers(0, len(program)))
        which = draw(st.none() | st.integers(0, states - 1))
        program.insert(at, Taken(len(products) - 1, which, draw(operand)))
    ends = draw(st.lists(operand, min_size=states, max_size=states))
    counts = (gates, states, draw(st.integers(0, 3)))
    return RandomCell(counts, tuple(products), program, ends)
