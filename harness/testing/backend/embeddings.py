"""Checks of a trained table of tokens, alone and as the readout's weight."""

from __future__ import annotations

from dataclasses import replace

from harness.measure.proof.parity import STEP
from harness.testing.backend.grid import VOCABULARY, trained_gradients
from harness.testing.bench import SMALL, Bench
from harness.testing.compare import NotApplicable, agree, gradients_agree
from harness.testing.equations import run_equations

EMBEDDED = replace(SMALL, embedding=3)  # each token occurs several times
TIED = replace(VOCABULARY, embedding=VOCABULARY.hidden, tied_readout=True)


def an_embedding_and_a_tied_readout_equal_the_reference(bench: Bench) -> None:
    """Outputs follow the equations; all gradients, and those of a step, equal the reference."""
    needs_embeddings(bench)
    for case in (EMBEDDED, TIED):
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
            tensor = f"gradient of {name} in train_step"
            agree(tensor, trained[name], gradient, bench.tolerance, case)


def needs_embeddings(bench: Bench) -> None:
    """Raise NotApplicable if the backend does not declare that it trains embeddings."""
    if not bench.backend.embeddings:
        raise NotApplicable(f"{bench.backend.name} declares no support for embeddings")
