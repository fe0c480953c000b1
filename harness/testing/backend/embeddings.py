"""Checks of a trained table of tokens, alone and as the readout's weight."""

from __future__ import annotations

from dataclasses import replace

from harness.measure.proof.parity import STEP
from harness.testing.backend.grid import VOCABULARY, trained_gradients
from harness.testing.bench import SMALL, Bench, Case
from harness.testing.compare import NotApplicable, agree, gradients_agree
from harness.testing.equations import run_equations

EMBEDDED = replace(SMALL, embedding=3)  # each token occurs several times
TIED = replace(VOCABULARY, embedding=VOCABULARY.hidden, tied_readout=True)


def an_embedding_equals_the_reference(bench: Bench) -> None:
    """Outputs follow the equations; all gradients, and those of a step, equal the reference."""
    _equals_the_reference(bench, EMBEDDED)


def a_tied_readout_equals_the_reference(bench: Bench) -> None:
    """The gradient of the table is that of the tokens that are read plus that of the outputs."""
    _equals_the_reference(bench, TIED)


def _equals_the_reference(bench: Bench, case: Case) -> None:
    if not bench.backend.embeddings:
        raise NotApplicable(f"{bench.backend.name} declares no support for embeddings")
    trainer, reference = bench.trainer(case, STEP), bench.reference_trainer(case)
    batch, exact = trainer.put(case.make_batch()), reference.put(case.make_batch())
    if bench.deviation is None:
        model, start = case.model(bench.cell), case.parameters(bench.cell)
        outputs = run_equations(model, start, case.make_batch()).outputs
        agree("outputs", trainer.outputs(batch), outputs, bench.tolerance, case)
    expected = reference.gradients(exact)
    gradients_agree(trainer.gradients(batch), expected, bench.tolerance, case)
    trained = trained_gradients(trainer, batch)
    for name, gradient in expected.parameters.items():
        agree(f"gradient of {name} in train_step", trained[name], gradient, bench.tolerance, case)
