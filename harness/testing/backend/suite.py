"""The list of checks of a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from harness.cells import (
    GRU,
    LSTM,
    RNN,
    SRU,
    MinGRU,
    MinLSTM,
    PeepholeLSTM,
    ReluRNN,
    ResetBeforeGRU,
)
from harness.contract import Backend, BrokenAnswerError, Cell, Dtype, Missing
from harness.plugins import query
from harness.testing.backend import (
    checkpoints,
    deviations,
    devices,
    embeddings,
    gradients,
    isolation,
    snapshots,
    updates,
    verification,
    windows,
)
from harness.testing.backend.grid import Grid, grid_checks
from harness.testing.bench import GRADIENT_CASES, Bench
from harness.testing.compare import Check

DTYPES: tuple[Dtype, ...] = ("float64", "float32")

# Checks that depend on the cell's equations: they run for every variant and cell.
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
    verification.float64_is_computed_in_float64,
    verification.float32_is_computed_in_float32,
    checkpoints.checkpointed_bptt_equals_plain_bptt,
)
# The other checks: they run for every variant, on the first cell that it supports.
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
    embeddings.an_embedding_equals_the_reference,
    embeddings.a_tied_readout_equals_the_reference,
    checkpoints.dropout_is_repeated_when_a_chunk_is_run_again,
    snapshots.training_goes_on_from_a_snapshot,
    snapshots.a_new_trainer_goes_on_with_dropout_and_carried_state,
    devices.several_devices_train_as_one,
    devices.it_says_over_how_many_devices_it_trained,
    verification.unknown_devices_and_variants_are_refused,
    verification.results_lie_where_they_were_asked_for,
    verification.synchronize_waits_for_the_work,
    verification.a_block_of_steps_takes_as_long_as_it_says,
)
# Cells that together ask of an engine all that the cells of the harness do.
CELLS: tuple[Cell, ...] = (
    RNN(), ReluRNN(), LSTM(), GRU(), MinGRU(), MinLSTM(), PeepholeLSTM(), ResetBeforeGRU(), SRU(),
)  # fmt: skip
# Checks against the cell's equations themselves; a variant with a deviation skips them.
EQUATIONS = {
    gradients.loss_and_outputs_follow_the_equations,
    gradients.hidden_gradients_equal_finite_differences,
    windows.a_carried_state_continues_the_stream,
    windows.training_leaves_the_final_state_carried,
    verification.float64_is_computed_in_float64,  # its reference is its own float64
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
    """Yield every check of a backend; only the first check if it is ``Missing``.

    Nothing runs until a check is run.

    Args:
        backend: the backend to check.
        reference: the backend whose float64 results count as correct.
        cells: the cells to run; None means ``CELLS``.
        variants: the variants to run; None means all.
        device: the device to run on; None means the backend's first.
        dtypes: the dtypes to run.
        lengths: the time steps at which gradients are compared, out of 1, 7, 64 and 100; None means
            all.
        grid: the shapes at which every tensor is compared in every dtype: ``cover`` (a dozen, in
            which all pairs of values meet), ``full`` (all) or ``none``. With ``few``, a variant
            that compiles runs the checks that depend on the cell, at two shapes, and no others.

    Raises:
        BrokenAnswerError: the backend fails to list its variants or devices.
    """
    cells = tuple(CELLS if cells is None else cells)
    declaration = partial(verification.it_declares_itself_sanely, backend, cells)
    yield Check("it_declares_itself_sanely", declaration)
    if isinstance(query.available_or_missing(backend), Missing):
        return
    cases = tuple(case for case in GRADIENT_CASES if lengths is None or case.time_steps in lengths)
    seen: set[str] = set()
    for cell in cells:
        for variant in query.variants(backend, cell):
            if variants is None or variant in variants:
                bench = Bench(
                    backend, reference, cell, variant, device, dtypes, cases, grid == "few"
                )
                try:
                    deviates = bench.deviation is not None
                except BrokenAnswerError as error:  # its reference is then unknown
                    yield _failure("it_says_whether_it_deviates", bench, str(error))
                    continue
                yield from _checks_of(bench, deviates=deviates, of_engine=variant not in seen)
                seen.add(variant)
                yield from grid_checks(bench, grid)


def _checks_of(bench: Bench, *, deviates: bool, of_engine: bool) -> Iterator[Check]:
    """Yield the checks of one variant and cell, those of the engine alone if asked for."""
    if deviates:
        yield _check(deviations.it_differs_from_the_equations_as_it_says, bench)
    for function in CELL_CHECKS:
        if not (deviates and function in EQUATIONS):
            yield _check(function, bench)
    functions = VARIANT_CHECKS if of_engine else ()
    if isinstance(bench.cell, ReluRNN):
        functions += (updates.gradients_that_explode_over_400_steps_are_clipped,)
    for function in functions:
        yield _check(function, bench, needs_many_shapes=True)


def _failure(name: str, bench: Bench, why: str) -> Check:
    def fail() -> None:
        raise AssertionError(why)

    return Check(name, fail, bench.variant, bench.cell.name)


def _check(
    function: Callable[[Bench], None], bench: Bench, *, needs_many_shapes: bool = False
) -> Check:
    def check() -> None:
        if needs_many_shapes:
            bench.needs_many_shapes()
        function(bench)

    return Check(function.__name__, check, bench.variant, bench.cell.name)
