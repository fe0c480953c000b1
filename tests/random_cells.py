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
# Of two matrices M and N, and an array x.
MATRIX = {
    "scale rows": lambda ops, m, n, x: x * m,
    "divide rows": lambda ops, m, n, x: m / (1.5 + ops.tanh(x)),
    "matrix sum": lambda ops, m, n, x: m - 0.3 * n + 0.1,
    "matrix times": lambda ops, m, n, x: 0.3 * m * n,
    "matrix quotient": lambda ops, m, n, x: m / (1.5 + n * n),
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
        with_matrix: the last state is a matrix.
    """

    name = "random"
    gates = ("a",)

    def __init__(self, counts, products, program, ends, *, with_matrix=False):
        gates, states, vectors = counts
        self.gates = tuple("abcdef"[:gates])
        self.matrix_states = ("S",) if with_matrix else ()
        self.states = (*("h", "c", "n", "m")[:states], *self.matrix_states)
        self.vectors = tuple(f"u_{at}" for at in range(vectors))
        self.products, self.program, self.ends = products, program, ends
        self.recurrent = bool(products)

    def step(self, ops, zx, state, own):
        """Run the program; a value is any result before."""
        arrays = [part for part, name in zip(state, self.states, strict=True) if name != "S"]
        matrices = [state.S] if self.matrix_states else []
        values = [*ops.split(zx, len(self.gates)), *arrays, *own]
        for instruction in self.program:
            if not self._run_on_matrices(ops, values, matrices, instruction):
                values += self._results(ops, values, arrays, instruction)
        h, *others = (
            kinds[end % len(kinds)] + (0.1 * old if end % 3 else 0.0)
            for end, old, name in zip(self.ends, state, self.states, strict=True)
            for kinds in ([matrices] if name == "S" else [values])
        )
        read = [ops.contract(matrices[-1], values[-1] + values[0])] if matrices else []
        return (sum(read, h), *others)

    def _run_on_matrices(self, ops, values, matrices, instruction):
        """Run an instruction about matrices; return False if it is none."""
        if isinstance(instruction, Taken):
            return False
        name, first, second = instruction
        x, y = (values[at % len(values)] + values[0] for at in (first, second))
        if name == "outer" or (name in {*MATRIX, "contract"} and not matrices):
            matrices.append(ops.outer(x, y))
        elif name == "contract":
            values.append(ops.contract(matrices[first % len(matrices)], y))
        elif name == "dot":
            values.append(ops.contract(x, y))
        elif name in MATRIX:
            m, n = (matrices[at % len(matrices)] for at in (first, second))
            matrices.append(MATRIX[name](ops, m, n, values[second % len(values)]))
        else:
            return False
        return True

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
def random_cells(draw, most=10, *, most_states=4, with_products=True, with_matrices=False):
    """Draw a cell of 1 to 6 gates, 1 to 4 states, 0 to 3 vectors and 0 to 2 products.

    With matrices, one more state may be a matrix, and the program has ``outer`` and ``contract``.
    """
    gates, states = draw(st.integers(1, 6)), draw(st.integers(1, most_states))
    names, operand = tuple("abcdef"[:gates]), st.integers(0, SPACE - 1)
    names_of = [*UNARY, *BINARY, "wide"]
    names_of += [*MATRIX, *["outer", "contract", "dot"] * 3] if with_matrices else []
    operations, with_matrix = st.sampled_from(names_of), with_matrices and draw(st.booleans())
    program = draw(st.lists(st.tuples(operations, operand, operand), min_size=1, max_size=most))
    products = []
    kinds = [(), ("hh",), ("hh", "hn"), ("hn", "hh")] if with_products else [()]
    for name in draw(st.sampled_from(kinds)):
        some = draw(st.none() | st.sets(st.sampled_from(names), min_size=1).map(sorted))
        products.append(Product(name, some and tuple(some), draw(st.booleans())))
        at = draw(st.integers(0, len(program)))
        which = draw(st.none() | st.integers(0, states - 1))
        program.insert(at, Taken(len(products) - 1, which, draw(operand)))
    length = states + with_matrix
    ends = draw(st.lists(operand, min_size=length, max_size=length))
    counts = (gates, states, draw(st.integers(0, 3)))
    return RandomCell(counts, tuple(products), program, ends, with_matrix=with_matrix)
