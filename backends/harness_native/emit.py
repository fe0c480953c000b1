"""Writes the C of a cell: constants for the driver, and what begins and ends each tile."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from harness.contract import Cell
from harness.recurrence.loops import Spelling, forward, identifiers, own, reverse
from harness.recurrence.stages import Location
from harness_native.build import Recipe
from harness_native.plan import Plan, plan_of

HIDDEN = "ptrdiff_t hidden = range->hidden;"
AT = "ptrdiff_t at = (row + b) * hidden + column;"
WIDE = "ptrdiff_t wide = (row + b) * range->width + column;"
LANES = "int n = NAME(lanes_of)(range, column);"
WIDTH = 100  # of a line


def source(cell: Cell) -> str:
    """Return the C source of a cell's kernel.

    Raises:
        UnsupportedError: the kernel cannot run the cell; the message says why.
    """
    plan = plan_of(cell)
    parts = [
        f"/* The recurrence of the cell {_comment(cell.name)}, written from its step. */",
        "#ifndef real /* the file includes itself once for each type */",
        _constants(plan),
        '#include "float.h"\n#include __FILE__\n#include "undefine.h"',
        '#include "double.h"\n#include __FILE__\n#include "facts.h"',
        "#else",
        '#include "simd.h"\n#include "driver.h"',
        _fill_own(plan),
        *(part for stage in range(plan.stages) for part in _forward(plan, stage)),
        _steps("forward", plan.stages),
        *(part for stage in range(plan.reverse_stages) for part in _reverse(plan, stage)),
        _steps("reverse", plan.reverse_stages),
        *_initial(plan),
        "#endif",
    ]
    return "\n\n".join(parts) + "\n"


def cell_recipe(cell: Cell) -> Recipe:
    """Return how the library of a cell is built."""
    name = re.sub(r"[^\w-]", "_", cell.name, flags=re.ASCII)
    return Recipe(f"{name}.c", text=source(cell))


class Tile(Spelling):
    """The statements that end a tile.

    Attributes:
        pointers: the arrays that they read and write, defined before the loop over the tile.
    """

    def __init__(self, plan: Plan, stage: int) -> None:
        super().__init__(("ptrdiff_t", "signed_bits"))
        self._plan, self._stage, self._cell = plan, stage, plan.recurrence.cell
        self._states = identifiers(self._cell.states)
        self.pointers: dict[str, tuple[str, str]] = {}

    def unique(self, name: str) -> str:
        """Return a variable's name; one of capitals could be a macro."""
        return super().unique(name.lower() if name.isupper() else name)

    def number(self, value: float) -> str:
        """Return a constant of the type ``real``."""
        if value == int(value) and abs(value) < 1e6:  # noqa: PLR2004
            return str(int(value))
        return f"(real){value!r}"

    def call(self, op: str, args: Sequence[str]) -> str:
        """Return a call of a function of simd.h."""
        return f"NAME({op})({', '.join(args)})"

    def define(self, name: str, text: str) -> str:
        """Return the definition of a vector."""
        return f"vec {name} = {text};"

    def read(self, location: Location) -> str:
        """Return the vector at ``column``."""
        array, at, _ = location
        if (tile := self._in_tile(location)) is not None:
            return tile
        if array == "d_new":
            carried = self.read(Location("carry", at))
            if at:
                return carried
            direct = self._pointer("d_direct", "const real *", "AT(range->layer->d_direct, t)")
            return f"{_load(f'{direct} + at')} + {carried}"
        if array == "own":
            return self._own(at)
        if array in {"mean", "d_mean"}:
            return f"NAME(splat)(*({self._address(location)}))"
        return _load(self._address(location))

    def write(self, location: Location, value: str) -> Sequence[str]:
        """Return the stores; none for the gradient of a product that lies in d_zx."""
        array, at, _ = location
        if array == "d_product" and self._plan.shared[at] is not None:
            return []
        if array == "d_vector":
            return [f"range->sums[{_sum(_units(at), 'column / LANES')}] += {value};"]
        if array == "own":
            return [f"{self._own(at)} = {value};"]
        if array in {"mean", "d_mean"}:
            mean = self._address(location)
            return [f"NAME(add_mean)({mean}, {value}, column, n, hidden);"]
        store = f"NAME(store)({self._address(location)}, {value}, n);"
        if array == "d_total":
            return [f"if ({self._array(location)} != NULL)", f"    {store}"]
        return [store]

    def _address(self, location: Location) -> str:
        array, at, piece = location
        layer, gates = "range->layer->", len(self._cell.gates)
        if array == "vector":
            return f"(real *){layer}vector[{at}] + column"
        if array == "zx":
            return f"NAME(zx_of)(range, t, row + b) + {_sum('column', _hidden(at))}"
        if array in {"d_zx", "kept"} and at < gates:
            name = "d_zx" if array == "d_zx" else "gates"
            pointer = self._pointer(name, "real *", f"WIDE({layer}{name}, t)")
            return _sum(pointer, "wide", _hidden(at))
        if array == "d_product":
            count = len(self._plan.pieces[at])
            value = f"PIECES({layer}d_product[{at}], {count}, t)"
            pointer = self._pointer(f"d_product_{at}", "real *", value)
            return _sum(pointer, f"(row + b) * {_hidden(count)}", "column", _hidden(piece))
        return f"{self._array(location)} + {'(row + b) * hidden' if 'mean' in array else 'at'}"

    def _array(self, location: Location) -> str:
        """Return the pointer to an array (B, H)."""
        array, at, _ = location
        plan, layer, name = self._plan, "range->layer->", f"{array}_{at}"
        if array in {"old", "new", "carry"}:
            name = f"{array}_{self._states[at]}"
        if array == "old":
            return self._pointer(name, "const real *", f"NAME(before)(range, {at}, t)")
        values = {
            "new": f"AT({layer}states[{at}], t)",
            "kept": f"AT({layer}kept[{at - len(self._cell.gates)}], t)",
            "mean": f"AT({layer}kept[{plan.extra - len(plan.means) + at}], t)",
            "operand": f"AT({layer}operand[{at}], t)",
            "carry": _rows("carry", at),
            "held": _rows("held", at),
            "d_mean": _rows("held", len(plan.held) + at),
            "d_total": f"{layer}d_total == NULL ? NULL : AT({layer}d_total, t)",
        }
        return self._pointer("d_total" if array == "d_total" else name, "real *", values[array])

    def _pointer(self, name: str, kind: str, value: str) -> str:
        if name not in self.pointers:
            variable = self.unique(name)
            self.pointers[name] = variable, f"{kind}{variable} = {value};"
        return self.pointers[name][0]

    def _in_tile(self, location: Location) -> str | None:
        """Return a value that lies in the tile."""
        array, at, piece = location
        plan = self._plan
        if array == "product":
            for tile, group in enumerate(plan.tiles(self._stage)):
                if group.product == at and 0 <= piece - group.first < group.count:
                    return self._tile(tile, _times("u", group.count), piece - group.first)
        if array in {"back", "d_new"}:
            leaf = plan.recurrence.graph.leaf(array.removeprefix("d_"), at)
            tiles = plan.back_tiles[self._stage]
            return self._tile(tiles.index(leaf), "u", 0) if leaf in tiles else None
        return None

    @staticmethod
    def _tile(tile: int, unit: str, piece: int) -> str:
        return f"tile[{_sum(_times('TILE', tile), 'b * MOST_VECTORS', unit, str(piece))}]"

    @staticmethod
    def _own(index: int) -> str:
        return f"range->own[{_sum(_units(index), 'column / LANES')}]"


def _constants(plan: Plan) -> str:
    cell = plan.recurrence.cell
    tiles = [len(plan.tiles(stage)) for stage in range(plan.stages)]
    sizes = {
        "GATES": len(cell.gates), "STATES": len(cell.states), "PRODUCTS": len(cell.products),
        "VECTORS": len(cell.vectors), "GROUPS": len(plan.groups),
        "TILES": max(1, *tiles, *map(len, plan.back_tiles)),
        "OWN": len(plan.own), "HELD": len(plan.held) + len(plan.d_means), "KEPT": plan.extra,
    }  # fmt: skip
    groups = [f"{{{g.stage}, {g.product}, {g.first}, {g.count}}}" for g in plan.groups]
    operands = []
    for index, operand in enumerate(plan.operands):
        stage, tile = plan.back_tile(index)
        shared = plan.shared[index]
        operands.append(
            f"    {{.pieces = {len(plan.pieces[index])}, .bias = {int(cell.products[index].bias)}, "
            f".state = {-1 if plan.inner[index] else operand.value}, "
            f".shared = {-1 if shared is None else shared}, .stage = {stage}, .tile = {tile}}},"
        )
    units = ", ".join(str(plan.units(stage)) for stage in range(plan.stages))
    return "\n".join(
        (
            '#include "cell.h"\n',
            "enum {",
            *(f"    {name} = {value}," for name, value in sizes.items()),
            "};",
            f"static const Group groups[] = {{{', '.join([*groups, '{0}'])}}};",
            "static const Operand operands[] = {",
            *operands,
            "    {0}};",
            f"static const int stage_units[] = {{{units}}};",
        )
    )


def _fill_own(plan: Plan) -> str:
    lines = own(plan, Tile(plan, 0))
    body = [
        "for (ptrdiff_t column = 0; column < range->hidden; column += LANES) {",
        *_indented([LANES, *lines]),
        "}",
    ]
    return _function("fill_own", body if lines else [], "const Range *range")


def _forward(plan: Plan, stage: int) -> tuple[str, str]:
    """Return what begins and what ends a tile forwards."""
    recurrence = plan.recurrence
    gate_of = {piece: gate for gate, piece in recurrence.merged.items()}
    lines = ["ptrdiff_t column = panel->column + u * LANES;"]
    for gate in range(0 if stage else len(recurrence.gates)):
        kept = int(gate in plan.kept.values())
        lines.append(f"NAME(fetch_ahead)(range, t, column, row, rows, {gate}, {kept});")
    for at, group in enumerate(plan.tiles(stage)):
        for each in range(group.count):
            piece = group.first + each
            gate = gate_of.get((group.product, piece), -1)
            to = _sum("tile", _times("TILE", at), _times("u", group.count), str(each))
            leaves = [
                recurrence.pieces[group.product][piece],
                *recurrence.gates[gate:][: gate >= 0],
            ]
            lines.append(
                f"NAME(begin_at)(range, t, column, row, rows, {to}, {group.product}, {piece}, "
                f"{gate}); /* {_comment(' + '.join(map(recurrence.label, leaves)))} */"
            )
    body = ["for (int u = 0; u < panel->units; u++) {", *_indented(lines), "}"]
    spelling = Tile(plan, stage)
    end = _end(f"end_forward_{stage}", spelling, forward(plan, stage, spelling))
    return _function(f"begin_forward_{stage}", body), end


def _reverse(plan: Plan, stage: int) -> tuple[str, str]:
    """Return what begins and what ends a tile backwards."""
    lines = []
    for at, leaf in enumerate(plan.back_tiles[stage]):
        to = _sum("tile", _times("TILE", at))
        if leaf.op == "back":
            lines.append(f"NAME(begin_empty)(panel, rows, {to});")
        else:
            state = f"{leaf.value}, {int(plan.carried[leaf.value])}"
            lines.append(f"NAME(begin_state)(range, t, panel, row, rows, {to}, {state});")
    spelling = Tile(plan, stage)
    end = _end(f"end_reverse_{stage}", spelling, reverse(plan, stage, spelling))
    return _function(f"begin_reverse_{stage}", lines), end


def _steps(way: str, count: int) -> str:
    lines = [
        f"NAME({way}_stage)(range, t, {stage}, NAME(begin_{way}_{stage}), NAME(end_{way}_{stage}));"
        for stage in range(count)
    ]
    return _function(f"{way}_step", lines, "const Range *range, ptrdiff_t t")


def _initial(plan: Plan) -> tuple[str, str]:
    """Return the end of the reverse at the initial state."""
    ends = [
        f"NAME(end_initial)(range, panel, row, rows, {_sum('tile', _times('TILE', at))}, "
        f"{leaf.value});"
        for at, leaf in enumerate(plan.back_tiles[0])
    ]
    last = "NAME(reverse_stage)(range, -1, 0, NAME(begin_reverse_0), NAME(end_reverse_initial));"
    step = _function("initial_step", [last] if ends else [], "const Range *range")
    return _function("end_reverse_initial", ends), step


def _end(name: str, spelling: Tile, lines: Sequence[str]) -> str:
    """Return the loop over the rows and units of a tile."""
    text = "\n".join(lines)
    names = {"n": LANES, "at": AT, "wide": WIDE}
    used = [line for name, line in names.items() if re.search(rf"\b{name}\b", text)]
    loop = [
        "for (int b = 0; b < rows; b++)",
        "    for (int u = 0; u < panel->units; u++) {",
        "        ptrdiff_t column = panel->column + u * LANES;",
        *_indented([*used, *lines], 2),
        "    }",
    ]
    pointers = [line for _, line in spelling.pointers.values()]
    body = [*pointers, *loop] if lines else []
    hidden = [HIDDEN] if re.search(r"\bhidden\b", "\n".join(body)) else []
    return _function(name, [*hidden, *body])


def _function(name: str, lines: Sequence[str], arguments: str = "AT_TILE") -> str:
    """Return a function of the template; AT_TILE is in driver.h."""
    head = f"static void NAME({name})({arguments}) {{"
    return "\n".join((head, *(part for line in _indented(lines) for part in _wrapped(line)), "}"))


def _wrapped(line: str) -> list[str]:
    """Return a statement as lines of at most ``WIDTH`` characters."""
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(
        line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ) or [line]


def _indented(lines: Iterable[str], by: int = 1) -> list[str]:
    return ["    " * by + line for line in lines]


def _load(address: str) -> str:
    return f"NAME(load)({address}, n)"


def _rows(array: str, index: int) -> str:
    return _sum(f"range->{array}", _times("range->batch * hidden", index))


def _units(index: int) -> str:
    return _times("range->units", index)


def _hidden(count: int) -> str:
    return _times("hidden", count)


def _times(part: str, count: int) -> str:
    """Return so many times a part."""
    return {0: "0", 1: part}.get(count, f"{count} * {part}")


def _sum(*parts: str) -> str:
    """Return a sum without the terms that are 0."""
    return " + ".join(part for part in parts if part != "0") or "0"


def _comment(name: str) -> str:
    """Return what may stand in a comment."""
    return name.replace("*/", "* /")
