"""The list of checks of a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from harness.cells import ReluRNN, harness_cells
from harness.contract import Backend, BrokenAnswerError, Cell, Dtype, Missing
from harness.plugins import query
from harness.testing.backend import (
    checkpoints,
    deviations,
    devices,
    gradients,
    isolation,
    updates,
    windows,
)
from harness.testing.backend import verification as honesty
from harness.testing.backend.grid import Grid, grid_checks
from harness.testing.bench import GRADIENT_CASES, Bench
from harness.testing.compare import Check

DTYPES: tuple[Dtype, ...] = ("float64", "float32")

# What depends on the cell's equations, for every variant and cell.
CELL_CHECKS: tuple[Callable[[Bench], None], ...] = (
    gradients.arrays_have_the_shapes_and_dtype_of_the_contract,
    gradients.loss_and_outputs_follow_the_equations,
    gradients.parameter_gradients_equal_the_reference,
    gradients.parameter_gradients_equal_finite_differences,
    gradients.hidden_gradients_equal_the_reference,
    gradients.hidden_gradients_equal_finite_differences,
    gradients.saturated_gates_equal_the_reference,
    updates.one_step_follows_the_gradient,
    windows.masked_positions_change_nothing,
    windows.a_carried_state_continues_the_stream,
    windows.a_batch_without_carry_starts_from_zeros,
    windows.training_leaves_the_final_state_carried,
    windows.state_survives_a_round_trip,
    honesty.float64_is_computed_in_float64,
    honesty.float32_is_computed_in_float32,
    checkpoints.checkpointed_bptt_equals_plain_bptt,
)
# What does not, for every variant, on the first cell that it runs.
VARIANT_CHECKS: tuple[Callable[[Bench], None], ...] = (
    updates.optimizer_steps_equal_the_update_rules,
    updates.clipping_acts_before_the_update_and_is_reported,
    updates.norms_that_float32_cannot_square_are_right,
    updates.schedules_set_the_learning_rate_of_each_step,
    updates.load_starts_the_optimizer_afresh,
    updates.only_train_step_and_load_change_parameters,
    updates.the_same_trial_twice_gives_the_same_losses,
    isolation.arrays_given_back_are_copies,
    isolation.arrays_taken_in_are_copied,
    isolation.constructor_copies_its_parameters,
    isolation.dropout_acts_in_training_only,
    checkpoints.dropout_is_repeated_when_a_chunk_is_run_again,
    devices.several_devices_train_as_one,
    devices.it_says_over_how_many_devices_it_trained,
    honesty.unknown_devices_and_variants_are_refused,
    honesty.results_lie_where_they_were_asked_for,
    honesty.synchronize_waits_for_the_work,
    honesty.a_block_of_steps_takes_as_long_as_it_says,
)
# What holds a variant against the cell's equations themselves, and so cannot be asked of one that
# deviates from them.
EQUATIONS = {
    gradients.loss_and_outputs_follow_the_equations,
    gradients.hidden_gradients_equal_finite_differences,
    windows.a_carried_state_continues_the_stream,
    windows.training_leaves_the_final_state_carried,
    honesty.float64_is_computed_in_float64,  # its reference is its own float64
}


def checks_for_backend(
    backend: Backend,
    reference: Backend,
    cells: Sequence[Cell] | None = None,
    *,
    variants: Sequence[str] | None = None,
    device: str | None = None,
    dtypes: tuple[Dtype, ...] = DTYPES,
    lengths: Sequence[int] | None = None,
    grid: Grid = "cover",
) -> Iterator[Check]:
    """Yield every check of a backend; only the first where it is ``Missing``. Nothing runs until a check is run.

    Args:
        backend: what is checked.
        reference: the backend whose float64 results count as right.
        cells: the cells to run; None means those that come with the harness.
        variants: only these; None means all.
        device: the device to run on; None means the backend's first.
        dtypes: only these.
        lengths: only these of the time steps 1, 7, 64 and 100 at which gradients are compared; None
            means all.
        grid: the shapes at which every tensor is compared in every dtype: ``cover`` takes a dozen
            in which all pairs of values meet, ``full`` all of them, ``none`` none.

    Raises:
        BrokenAnswerError: the backend fails to answer which variants and devices it has.
    """
    cells = tuple(harness_cells() if cells is None else cells)
    yield Check(
        "it_declares_itself_sanely", partial(honesty.it_declares_itself_sanely, backend, cells)
    )
    if isinstance(query.available_or_missing(backend), Missing):
        return
    cases = tuple(case for case in GRADIENT_CASES if lengths is None or case.time_steps in lengths)
    seen: set[str] = set()
    for cell in cells:
        for variant in query.variants(backend, cell):
            if variants is None or variant in variants:
                bench = Bench(backend, reference, cell, variant, device, dtypes, cases)
                try:
                    deviates = bench.deviation is not None
                except BrokenAnswerError as error:  # and so nobody knows what to hold it against
                    yield _failure("it_says_whether_it_deviates", bench, str(error))
                    continue
                functions = CELL_CHECKS + (() if variant in seen else VARIANT_CHECKS)
                seen.add(variant)
                if isinstance(cell, ReluRNN):
                    functions += (updates.gradients_that_explode_over_400_steps_are_clipped,)
                if deviates:
                    yield _check(deviations.it_differs_from_the_equations_as_it_says, bench)
                yield from (
                    _check(one, bench) for one in functions if not (deviates and one in EQUATIONS)
                )
                yield from grid_checks(bench, grid)


def _failure(name: str, bench: Bench, why: str) -> Check:
    def fail() -> None:
        raise AssertionError(why)

    return Check(name, fail, bench.variant, bench.cell.name)


def _check(function: Callable[[Bench], None], bench: Bench) -> Check:
    return Check(function.__name__, partial(function, bench), bench.variant, bench.cell.name)
