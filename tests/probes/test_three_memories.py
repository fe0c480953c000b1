"""The three memories of networks that were trained on parity: which keep symbols, which compute."""

import pytest

import harness
from harness.contract.records.probed import probed


@pytest.mark.full
def test_an_lstm_holds_the_parity_of_all_symbols_and_a_mingru_only_the_last_symbols(tmp_path):
    results = harness.run(
        task="parity", cell=["lstm", "mingru"], length=20, seed=list(range(5)), backend="numpy",
        steps=2000, probe="memory,latent", store=str(tmp_path / "store.sqlite"), progress=False,
    )  # fmt: skip
    assert len(results) == 10
    for record in results:
        probes = probed(record.details)
        assert probes["memory"].figures["reach_steps"] >= 4
        accuracy = probes["latent"].figures["accuracy"]
        if record.trial.cell == "lstm":
            assert accuracy == pytest.approx(1, abs=0.001)
        else:
            assert accuracy == pytest.approx(0.5, abs=0.05)
