"""Checks of function and gradients: against equations, finite differences and the reference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.contract import Dtype, Parameters, Trainer
from harness.contract.backend import DeviceBatch
from harness.contract.model import Array
from harness.testing.bench import DEEP, LONG, Bench, Case
from harness.testing.compare import NotApplicable, agree, gradients_agree, is_array
from harness.testing.equations import Nudge, run_equations

# Of a central difference. For a loss near 1, truncation is about 1e-12 and rounding about 1e-10.
DIFFERENCE = 1e-6
# exp(1000) overflows in float64, exp(100) in float32. In float32, sums of 1000 and small numbers
# have few digits left.
SATURATED: dict[Dtype, tuple[float, ...]] = {
    "float64": (-1000.0, -100.0, -20.0, 20.0, 100.0, 1000.0),
    "float32": (-100.0, -20.0, 20.0, 100.0),
}
DIFFERENCE_TOLERANCE = 1e-6  # of a directional derivative, relative to the norm of the gradient


def arrays_have_the_shapes_and_dtype_of_the_contract(bench: Bench) -> None:
    """Outputs, gradients, parameters and state are writable NumPy arrays of the trainer's dtype."""
    case = DEEP
    trainer, model = bench.trainer(case), case.model(bench.cell)
    batch = trainer.put(case.make_batch())
    steps = (case.time_steps, case.batch)
    is_array("outputs", trainer.outputs(batch), (*steps, model.outputs), bench.dtype)
    gradients = trainer.gradients(batch)
    is_array("hidden gradient", gradients.hidden, (model.layers, *steps, model.hidden), bench.dtype)
    shapes = model.parameter_shapes()
    for kind, arrays in (("gradient of ", gradients.parameters), ("", trainer.parameters())):
        assert list(arrays) == list(shapes), (
            f"{kind}parameters: expected {list(shapes)}, got {list(arrays)}"
        )
        for name, shape in shapes.items():
            is_array(kind + name, arrays[name], shape, bench.dtype)
    state = trainer.state()
    assert state is not None, "state: expected the final state after outputs(), got None"
    assert len(state) == len(bench.cell.states), (
        f"state: expected {bench.cell.states}, got {len(state)} arrays"
    )
    shapes_of_state = model.state_shapes(case.batch)
    for name, array, shape in zip(bench.cell.states, state, shapes_of_state, strict=True):
        is_array(f"state {name}", array, shape, bench.dtype)


def loss_and_outputs_follow_the_equations(bench: Bench) -> None:
    """Initial loss and outputs equal those of the cell's equations, step by step in float64."""
    for case in bench.cases:
        trainer, batch = bench.trainer(case), case.make_batch()
        expected = run_equations(case.model(bench.cell), case.parameters(bench.cell), batch)
        outputs = trainer.outputs(trainer.put(batch))
        agree("outputs", outputs, expected.outputs, bench.tolerance, case)
        loss = trainer.gradients(trainer.put(batch)).loss
        agree("loss", loss, expected.loss, bench.tolerance, case)


def parameter_gradients_equal_the_reference(bench: Bench) -> None:
    """Every entry of every parameter's gradient equals the float64 reference."""
    for case in bench.cases:
        actual, expected = bench.gradients(case)
        agree("loss", actual.loss, expected.loss, bench.tolerance, case)
        for name, gradient in expected.parameters.items():
            agree(f"gradient of {name}", actual.parameters[name], gradient, bench.tolerance, case)


def hidden_gradients_equal_the_reference(bench: Bench) -> None:
    """Every entry of d loss / d h_t, and of the other states if given, equals the reference."""
    for case in bench.cases:
        actual, expected = bench.gradients(case)
        agree("hidden gradient", actual.hidden, expected.hidden, bench.tolerance, case)
        if actual.states is not None:
            names = bench.cell.states
            assert len(actual.states) == len(names), f"states: expected one of {names}, {case}"
            parts = zip(names, actual.states, expected.states or (), strict=False)
            for name, part, expected_part in parts:
                agree(f"gradient of state {name}", part, expected_part, bench.tolerance, case)


def saturated_gates_equal_the_reference(bench: Bench) -> None:
    """Outputs and gradients equal the reference (so they are finite) for very large gate biases.

    First all biases have the same value, then each has a random value.
    """
    case, rng, levels = DEEP, np.random.default_rng(4), SATURATED[bench.dtype]
    trainer, reference = bench.trainer(case), bench.reference_trainer(case)
    batch, exact = trainer.put(case.make_batch()), reference.put(case.make_batch())
    for level in (*levels, None):
        start = case.parameters(bench.cell)
        for name, value in start.items():
            if name.startswith("bias_ih"):
                start[name] = value + (rng.choice(levels, value.shape) if level is None else level)
        trainer.load(start)
        reference.load(start)
        where = "gates' biases at random" if level is None else f"gates' biases at {level:g}"
        expected, outputs = reference.gradients(exact), reference.outputs(exact)
        tensors = (outputs, expected.hidden, *expected.parameters.values())
        if not all(np.isfinite(tensor).all() for tensor in tensors):
            continue  # the cell itself is not finite here, for example with an exponential gate
        actual = trainer.gradients(batch)
        agree("outputs", trainer.outputs(batch), outputs, bench.tolerance, where)
        gradients_agree(actual, expected, bench.tolerance, where)


def parameter_gradients_equal_finite_differences(bench: Bench) -> None:
    """Each parameter's gradient equals a directional difference of the backend's own loss."""
    needs_float64(bench)
    for case in _short_and_long(bench):
        trainer, start = bench.trainer(case), case.parameters(bench.cell)
        batch = trainer.put(case.make_batch())
        gradients = trainer.gradients(batch).parameters
        for name, direction in _directions(start):
            ahead = _loss_at(trainer, batch, start | {name: start[name] + DIFFERENCE * direction})
            behind = _loss_at(trainer, batch, start | {name: start[name] - DIFFERENCE * direction})
            slope = (ahead - behind) / (2 * DIFFERENCE)
            _agree_along(f"gradient of {name}", gradients[name], direction, slope, case)


def hidden_gradients_equal_finite_differences(bench: Bench) -> None:
    """The gradient of h_t is the total derivative: through all later time steps and layers."""
    needs_float64(bench)
    for case in _short_and_long(bench):
        hidden, model = bench.gradients(case)[0].hidden, case.model(bench.cell)
        parameters, batch = case.parameters(bench.cell), case.make_batch()
        for layer in range(case.layers):
            for t in sorted({0, case.time_steps // 2, case.time_steps - 1}):
                shape = hidden[layer, t].shape
                direction = np.random.default_rng(t).choice([-1.0, 1.0], size=shape)
                nudges = [Nudge(layer, t, sign * DIFFERENCE * direction) for sign in (1, -1)]
                ahead, behind = (
                    run_equations(model, parameters, batch, nudge=nudge).loss for nudge in nudges
                )
                name = f"hidden gradient of layer {layer} at step {t}"
                _agree_along(
                    name, hidden[layer, t], direction, (ahead - behind) / (2 * DIFFERENCE), case
                )


def _short_and_long(bench: Bench) -> list[Case]:
    return [case for case in (DEEP, LONG) if case in bench.cases]


def needs_float64(bench: Bench) -> None:
    """Raise NotApplicable if the variant has no float64, which finite differences need."""
    if bench.dtype != "float64":
        raise NotApplicable("finite differences need float64, which this variant does not support")


def _directions(parameters: Parameters) -> Iterator[tuple[str, Array]]:
    rng = np.random.default_rng(3)
    for name, value in parameters.items():
        yield name, rng.choice([-1.0, 1.0], size=value.shape)


def _loss_at(trainer: Trainer, batch: DeviceBatch, parameters: Parameters) -> float:
    trainer.load(parameters)
    return float(trainer.gradients(batch).loss)


def _agree_along(
    tensor: str, gradient: Array, direction: Array, expected: float, case: Case
) -> None:
    scale = max(float(np.linalg.norm(gradient)), abs(expected), 1e-3)
    error = abs(float(np.sum(gradient * direction)) - expected) / scale
    assert error <= DIFFERENCE_TOLERANCE, (
        f"{tensor}: relative error {error:.2e} against finite differences "
        f"exceeds {DIFFERENCE_TOLERANCE:.0e} ({case})"
    )
