"""Writes the C of a cell: constants for the driver, and what begins and ends each tile."""

from __future__ import annotations

import re

from harness.contract import Cell
from harness_native.build import Recipe
from harness_native.keep import plan_of
from harness_native.plan import Plan
from harness_native.text import Own, comment, function, indented, total
from harness_native.tiles import EndBackward, EndForward


def source(cell: Cell) -> str:
    """Return the C source of a cell's kernel.

    Raises:
        UnsupportedError: the kernel cannot run the cell; the message says why.
    """
    return _Source(plan_of(cell)).text()


def cell_recipe(cell: Cell) -> Recipe:
    """Return how the library of a cell is built."""
    name = re.sub(r"[^\w-]", "_", cell.name, flags=re.ASCII)
    return Recipe(f"{name}.c", text=source(cell))


class _Source:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.recurrence, self.cell = plan, plan.recurrence, plan.recurrence.cell
        self.own = Own()

    def text(self) -> str:
        """Return the whole source."""
        plan = self.plan
        forward = [self._forward(stage) for stage in range(plan.stages)]
        reverse = [self._reverse(stage) for stage in range(plan.reverse_stages)]
        parts = [
            f"/* The recurrence of the cell {comment(self.cell.name)}, written from its step. */",
            "#ifndef real /* the file includes itself once for each type */",
            self._constants(),
            '#include "float.h"\n#include __FILE__\n#include "undefine.h"',
            '#include "double.h"\n#include __FILE__',
            ENTRIES,
            "#else",
            '#include "simd.h"\n#include "driver.h"',
            self._fill_own(),
            *forward,
            self._steps(),
            *reverse,
            self._reverse_steps(),
            "#endif",
        ]
        return "\n\n".join(parts) + "\n"

    def _constants(self) -> str:
        plan, cell = self.plan, self.cell
        tiles = max(
            *(sum(group.stage == stage for group in plan.groups) for stage in range(plan.stages)),
            *(len(plan.back_tiles(stage)) for stage in range(plan.reverse_stages)),
            1,
        )
        sizes = {
            "GATES": len(cell.gates), "STATES": len(cell.states), "PRODUCTS": len(cell.products),
            "VECTORS": len(cell.vectors), "GROUPS": len(plan.groups), "TILES": tiles,
            "OWN": len(self.own.values), "HELD": len(plan.held), "KEPT": plan.extra,
        }  # fmt: skip
        groups = [f"{{{g.stage}, {g.product}, {g.first}, {g.count}}}" for g in plan.groups]
        operands = [
            f"{{.pieces = {len(plan.pieces[index])}, .bias = {int(cell.products[index].bias)}, "
            f".state = {-1 if inner else operand.value}, "
            f".shared = {-1 if (gate := plan.shared[index]) is None else gate}, "
            f".stage = {plan.back_stage(index)}, .tile = {plan.back_tile(index)}}}"
            for index, operand in enumerate(plan.operands)
            for inner in [plan.inner[index]]
        ]
        units = ", ".join(str(plan.units(stage)) for stage in range(plan.stages))
        return "\n".join(
            (
                '#include "cell.h"\n',
                "enum {",
                *(f"    {name} = {value}," for name, value in sizes.items()),
                "};",
                f"static const Group groups[] = {{{', '.join([*groups, '{0}'])}}};",
                "static const Operand operands[] = {",
                *(f"    {operand}," for operand in operands),
                "    {0}};",
                f"static const int stage_units[] = {{{units}}};\n",
                '#include "facts.h"',
            )
        )

    # Forwards.

    def _forward(self, stage: int) -> str:
        begin = self._begin_forward(stage)
        end = EndForward(self.plan, self.own, stage).text()
        return f"{begin}\n\n{end}"

    def _begin_forward(self, stage: int) -> str:
        plan, lines = self.plan, list[str]()
        gate_of = {piece: gate for gate, piece in self.recurrence.merged.items()}
        tiles = [group for group in plan.groups if group.stage == stage]
        lines.append("ptrdiff_t column = panel->column + u * LANES;")
        fetched = [] if stage else range(len(self.cell.gates))
        for gate in fetched:
            kept = gate in plan.kept.values()
            lines.append(f"NAME(fetch_ahead)(range, t, column, row, rows, {gate}, {int(kept)});")
        for at, group in enumerate(tiles):
            for each in range(group.count):
                piece = group.first + each
                gate = gate_of.get((group.product, piece), -1)
                to = total("tile", f"{at} * TILE", f"u * {group.count}", str(each))
                leaf = self.recurrence.pieces[group.product][piece]
                said = [leaf] if gate < 0 else [leaf, self.recurrence.gates[gate]]
                lines.append(
                    f"NAME(begin_at)(range, t, column, row, rows, {to}, {group.product}, {piece}, "
                    f"{gate}); /* {comment(' + '.join(map(self.recurrence.label, said)))} */"
                )
        body = ["for (int u = 0; u < panel->units; u++) {", *indented(lines), "}"]
        return function(f"begin_forward_{stage}", body)

    def _steps(self) -> str:
        lines = [
            f"NAME(forward_stage)(range, t, {stage}, {self.plan.units(stage)}, "
            f"NAME(begin_forward_{stage}), NAME(end_forward_{stage}));"
            for stage in range(self.plan.stages)
        ]
        return function("forward_step", lines, "const Range *range, ptrdiff_t t")

    # Backwards.

    def _reverse(self, stage: int) -> str:
        lines = []
        for at, leaf in enumerate(self.plan.back_tiles(stage)):
            to = total("tile", f"{at} * TILE")
            if leaf.op == "back":
                lines.append(f"NAME(begin_empty)(panel, rows, {to});")
            else:
                carried = int(bool(self.plan.state[leaf.value]))
                lines.append(
                    f"NAME(begin_state)(range, t, panel, row, rows, {to}, {leaf.value}, {carried});"
                )
        begin = function(f"begin_reverse_{stage}", lines)
        return f"{begin}\n\n{EndBackward(self.plan, self.own, stage).text()}"

    def _reverse_steps(self) -> str:
        ends = [
            f"NAME(end_initial)(range, panel, row, rows, {total('tile', f'{at} * TILE')}, "
            f"{leaf.value});"
            for at, leaf in enumerate(self.plan.back_tiles(0))
        ]
        lines = [
            f"NAME(reverse_stage)(range, t, {stage}, NAME(begin_reverse_{stage}), "
            f"NAME(end_reverse_{stage}));"
            for stage in range(self.plan.reverse_stages)
        ]
        last = [
            "NAME(reverse_stage)(range, -1, 0, NAME(begin_reverse_0), NAME(end_reverse_initial));"
        ]
        return "\n\n".join(
            (
                function("reverse_step", lines, "const Range *range, ptrdiff_t t"),
                function("end_reverse_initial", ends),
                function("initial_step", last if ends else [], "const Range *range"),
            )
        )

    def _fill_own(self) -> str:
        lines = [
            "for (ptrdiff_t column = 0; column < range->hidden; column += LANES) {",
            "    int n = NAME(lanes_of)(range, column);",
            *indented(self.own.filling(self.cell.vectors)),
            "}",
        ]
        return function("fill_own", lines if self.own.values else [], "const Range *range")


ENTRIES = """int harness_forward(const Layer *layer) {
    return layer->is_double ? run_f64(layer, 0) : run_f32(layer, 0);
}

int harness_reverse(const Layer *layer) {
    return layer->is_double ? run_f64(layer, 1) : run_f32(layer, 1);
}

int harness_weight_gradients(const Layer *layer) {
    return layer->is_double ? weight_gradients_f64(layer) : weight_gradients_f32(layer);
}

const Cell *harness_cell(void) { return facts(harness_forward, harness_reverse); }"""
