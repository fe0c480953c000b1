"""A trial's id is a hash of its content: stored ids must never change."""

import pytest
from pydantic import ValidationError

from harness.contract import Trial
from harness.contract.trial import OMITTED_AT_DEFAULT

COPY = {"backend": "numpy", "variant": "loop", "task": "copy", "cell": "rnn", "length": 3}
STORED_IDS = [
    ("05c6a38bafac", {}),
    ("8962d0bc5eec", {"seed": 7, "data_seed": 3}),
    (
        "f606e3252c49",
        {
            "backend": "torch",
            "variant": "fused",
            "cell": "gru",
            "length": 100,
            "hidden": 64,
            "task_options": {"symbols": 4, "b": None},
        },
    ),
    ("d9818548a070", {"python": "base"}),
    ("c66afcaea901", {"checkpoint": "auto"}),
    ("31bd07b51627", {"checkpoint": 16}),
    ("da1c79096f1b", {"devices": 2}),
    ("fbfcb551c672", {"python": "base", "checkpoint": 4, "devices": 4, "clip_norm": 1.0}),
]


@pytest.mark.parametrize(("trial_id", "changes"), STORED_IDS)
def test_stored_ids_stay(trial_id, changes):
    assert Trial(**COPY | changes).trial_id == trial_id


def test_a_marked_field_is_in_the_content_only_if_it_was_changed():
    marked = {
        name for name, field in Trial.model_fields.items() if OMITTED_AT_DEFAULT in field.metadata
    }
    changed = {"python": "base", "checkpoint": 4, "devices": 2, "evaluate_at": [6]}
    changed |= {"embedding": 128, "tied_readout": True, "warmup_steps": 3}
    changed |= {"beta1": 0.5, "beta2": 0.5, "epsilon": 0.5, "epsilon_in_root": True}
    changed |= {"weight_decay": 0.5, "patience": 2}
    of_others = {"optimizer": "rmsprop", "initial_square": 1.0}
    of_others |= {"schedule": "cosine", "schedule_steps": 9, "schedule_start": 3}
    assert marked == (changed.keys() | of_others.keys()) - {
        "optimizer",
        "schedule",
        "schedule_steps",
    }
    assert not marked & Trial(**COPY).content().keys()
    for values in (changed, of_others):
        assert values.items() <= Trial(**COPY | {"evaluate_every": 5} | values).content().items()
    assert list(Trial(**COPY).content())[:3] == ["backend", "variant", "task"]


def test_a_copy_with_other_values_has_another_id():
    trial = Trial(**COPY)
    assert trial.model_copy(update={"seed": 1}).trial_id == Trial(**COPY, seed=1).trial_id
    assert trial.model_copy(update={"python": None}).trial_id == trial.trial_id


@pytest.mark.parametrize("written", ["2T,4T,6", "12, 6,2T", [6, 12], (12, "2T"), [6, 12, 6]])
def test_lengths_of_evaluation_are_time_steps_each_once_and_ascending(written):
    trial = Trial(**COPY, evaluate_at=written)
    assert trial.evaluate_at == (6, 12)
    assert Trial(**trial.content()).trial_id == trial.trial_id
    assert Trial(**COPY, evaluate_at=[6]).trial_id != trial.trial_id


@pytest.mark.parametrize("written", ["2X", "", "0", "-3", "1.5T", [True], "6,,12", "2000000"])
def test_what_is_no_length_is_refused(written):
    with pytest.raises(ValueError, match="evaluate_at"):
        Trial(**COPY, evaluate_at=written)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("glorot", "glorot"),
        (" input=glorot , recurrent=identity", "recurrent=identity,input=glorot"),
        ("bias=uniform:1e-1,readout=normal:2", "readout=normal:2,bias=uniform:0.1"),
    ],
)
def test_initialisations_that_mean_the_same_are_one_trial(text, kept):
    assert Trial(**COPY, initialisation=text).initialisation == kept
    assert (
        Trial(**COPY, initialisation=text).trial_id == Trial(**COPY, initialisation=kept).trial_id
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("xavier", "'xavier' is none of torch, glorot, identity, and no PART=DRAW"),
        ("hidden=glorot", "'hidden=glorot' is none of"),
        ("input=xavier", "input=xavier: write identity, orthogonal, glorot, zeros, uniform:A"),
        ("input=uniform", "input=uniform: write"),
        ("input=normal:-1", "write a number above 0, as in normal:0.1"),
        ("input=normal:nan", "write a number above 0"),
        ("bias=identity", "a bias is no matrix"),
        ("input=zeros,input=glorot", "input is set twice"),
    ],
)
def test_an_initialisation_that_nothing_draws_is_refused(text, message):
    with pytest.raises(ValidationError, match=message):
        Trial(**COPY, initialisation=text)
