"""What the page shows of hidden units: which networks, and why others are left out."""

import pytest

from builders import CLASSES_TEXT, bracket_counter
from harness.cli.work import units as units_module
from harness.cli.work.units import units_of
from harness.contract import Record
from harness.measure.checkpoint import load, save


@pytest.fixture
def record(tmp_path):
    """The record of the counter of brackets, with a corpus and a checkpoint."""
    (tmp_path / "corpus.txt").write_text(CLASSES_TEXT * 3)
    path = bracket_counter(tmp_path)
    stored = load(path)
    options = {"corpus": str(tmp_path / "corpus.txt"), "split": 0.5}
    trial = stored.trial.model_copy(update={"task_options": options})
    save(path, stored.parameters, trial, stored.vocabulary)
    return record_of(trial, path)


def record_of(trial, checkpoint, loss=1.0, parameters=30):
    details = {"checkpoint": str(checkpoint)}
    figures = {"loss_validation": loss, "parameters": parameters}
    return Record(trial, "ok", figures=figures, details=details)


def test_a_network_has_its_best_unit_of_each_class_and_a_coloured_part_of_the_text(
    record, tmp_path
):
    units = units_of([record], [str(tmp_path / "store.sqlite")])
    (network,) = units.networks
    assert not units.left_out
    assert [row[0] for row in network.rows] == ["quotes", "brackets", "line-end", "indentation"]
    assert network.rows[1][1:3] == ("h0.1", "1.00")
    assert (network.unit, network.class_name, network.low, network.high) == (
        "h0.1",
        "brackets",
        "0",
        "1.00",
    )
    assert "".join(text for _, text in network.spans) in CLASSES_TEXT * 3
    assert (0, "Call f") in network.spans
    assert (9, "(a, b") in network.spans


def test_the_best_network_of_a_cell_stands_for_it(record):
    worse = record.trial.model_copy(update={"seed": 1})
    units = units_of([record_of(worse, "nowhere", loss=2.0), record], ["store.sqlite"])
    assert [network.trial for network in units.networks] == [record.trial]
    assert not units.left_out


def test_what_is_left_out_is_named_with_the_reason(record, monkeypatch, tmp_path):
    monkeypatch.setattr(units_module, "MOST_NETWORKS", 1)
    path = record.details["checkpoint"]
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"")
    others = {"rnn": ("nowhere", 30), "lstm": (path, 10**6), "gru": (damaged, 30)}
    records = [
        record_of(record.trial.model_copy(update={"cell": cell}), checkpoint, 0.5, parameters)
        for cell, (checkpoint, parameters) in others.items()
    ]
    last = record_of(record.trial.model_copy(update={"cell": "mingru"}), path, loss=2.0)
    units = units_of([*records, record, last], ["store.sqlite"])
    assert [network.trial.cell for network in units.networks] == ["rnn_relu"]
    reasons = [text.split(" T=5 ")[0] + text.partition(")")[2] for text in units.left_out]
    assert reasons[0] == "rnn: its checkpoint is not on this machine"
    assert reasons[1] == "lstm: it has more than 500,000 parameters"
    assert reasons[2].startswith(f"gru: the checkpoint {damaged} is damaged")
    assert reasons[3] == "mingru: only 1 networks are read"


def test_trials_of_other_tasks_and_failed_ones_have_no_section(record):
    copy = record.trial.model_copy(update={"task": "copy", "task_options": {}})
    failed = Record(record.trial, "failed")
    units = units_of([record_of(copy, record.details["checkpoint"]), failed], ["store.sqlite"])
    assert not units.networks
    assert not units.left_out
