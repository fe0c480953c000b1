import numpy as np
import pytest

import harness
from builders import (
    CLASSES_TEXT,
    SYMBOLS,
    bracket_counter,
    saved_network,
    trial_of,
    zero_weights,
)
from harness.cells import LSTM, ReluRNN
from harness.contract import UnknownNameError, UsageError, Vocabulary
from harness.hidden_units.units import study_units
from harness.measure.checkpoint import save
from harness.plugins import load_plugins


@pytest.fixture
def counter(tmp_path):
    return bracket_counter(tmp_path)


def study(path, text=CLASSES_TEXT, **settings):
    return study_units(load_plugins(), path, text=text, **settings)


def test_a_unit_that_counts_brackets_predicts_them_perfectly(counter):
    found = study(counter)
    brackets = next(score for score in found.classes if score.name == "brackets")
    best = brackets.units[0]
    assert (best.unit, best.auc, best.high_inside) == ("h0.1", 1.0, True)
    assert brackets.runs == CLASSES_TEXT[len(CLASSES_TEXT) // 2 :].count(")") * 3
    assert 0.5 < brackets.character_auc < 1
    assert best.gain == pytest.approx(1 - brackets.character_auc)
    assert found.names == ("h0.0", "h0.1", "h0.2")
    depth = np.cumsum([(c in "([{") - (c in ")]}") for c in CLASSES_TEXT])
    assert np.array_equal(found.values[:, 1], depth)


@pytest.mark.parametrize(
    "asked", [{"text": b"abc"}, {"text": 5}, {"characters": 0}, {"characters": -3}]
)
def test_a_text_or_number_of_characters_that_is_none_is_refused(counter, asked):
    with pytest.raises(UsageError, match=f"{next(iter(asked))} = "):
        harness.units(counter, **asked)


def test_a_run_that_began_in_the_first_half_counts(counter):
    brackets = next(score for score in study(counter, "(a) (a b) b").classes if score.positives)
    assert (brackets.name, brackets.positives, brackets.runs) == ("brackets", 3, 1)


def test_a_unit_that_never_changes_predicts_nothing(counter):
    (score,) = [score for score in study(counter).scores_of("h0.0") if score.name == "brackets"]
    (silent,) = score.units
    assert (silent.unit, silent.auc) == ("h0.0", 0.5)


def test_units_are_chosen_on_the_first_half_and_scored_on_the_second(counter):
    """In the first half every bracket has its partner; in the second, most are never closed."""
    text = "(a) b " * 40 + "\n\n" + "(a) b " * 5 + "\n\n" + "( b a b\n\n" * 20
    brackets = next(score for score in study(counter, text).classes if score.name == "brackets")
    assert [unit.unit for unit in brackets.units[:2]] == ["h0.1", "h0.2"]
    assert brackets.units[0].auc < 0.5 < brackets.units[1].auc


def test_a_unit_that_is_low_inside_has_its_direction(tmp_path):
    vocabulary = Vocabulary(SYMBOLS)
    parameters = zero_weights(ReluRNN(), vocabulary, 1)
    parameters["weight_ih_l0"][0, :] = 1.0
    parameters["weight_ih_l0"][0, [SYMBOLS.index(c) for c in '"g']] = 0.0
    path = saved_network(tmp_path, parameters, vocabulary, cell="rnn_relu", hidden=1)
    quotes = next(score for score in study(path).classes if score.name == "quotes")
    assert not quotes.units[0].high_inside
    assert quotes.units[0].auc > 0.5


def test_all_states_of_all_layers_are_units_in_float64_as_the_reference_has_them(tmp_path):
    rng = np.random.default_rng(0)
    vocabulary = Vocabulary(SYMBOLS)
    parameters = {
        name: rng.normal(size=zeros.shape).astype(np.float32)
        for name, zeros in zero_weights(LSTM(), vocabulary, 4, 2).items()
    }
    path = saved_network(tmp_path, parameters, vocabulary, cell="lstm", hidden=4, layers=2)
    found = study(path)
    assert found.names[:2] == ("h0.0", "h0.1")
    assert found.names[-1] == "c1.3"
    assert found.values.shape == (len(CLASSES_TEXT), 16)
    assert found.values.dtype == np.float64
    assert np.all(np.abs(found.values[:, :8]) < 1)
    cells = found.values[:, found.names.index("c0.0") :]
    assert np.all(np.abs(found.values[:, :8]) <= np.abs(np.tanh(cells)))


def test_an_embedding_feeds_the_units_and_the_writer(tmp_path):
    """A table in front of W_ih is the same network as their product, in units and in samples."""
    rng, vocabulary = np.random.default_rng(0), Vocabulary(SYMBOLS)
    plain = {
        name: rng.normal(size=zeros.shape).astype(np.float32)
        for name, zeros in zero_weights(LSTM(), vocabulary, 4).items()
    }
    table = rng.normal(size=(len(SYMBOLS), 2)).astype(np.float32)
    narrow = rng.normal(size=(16, 2)).astype(np.float32)
    plain["weight_ih_l0"] = (narrow.astype(np.float64) @ table.T).astype(np.float32)
    embedded = {"embedding": table, **plain, "weight_ih_l0": narrow}
    values, texts = [], []
    for name, parameters, settings in (("p", plain, {}), ("e", embedded, {"embedding": 2})):
        (tmp_path / name).mkdir()
        folder = tmp_path / name
        path = saved_network(folder, parameters, vocabulary, cell="lstm", hidden=4, **settings)
        values.append(study(path).values)
        texts.append(harness.sample(path, length=30, temperature=0.0))
    np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5)
    assert texts[0] == texts[1]


def test_a_network_of_bytes_has_one_value_for_each_character(tmp_path):
    vocabulary = Vocabulary(None)
    parameters = zero_weights(ReluRNN(), vocabulary, 1)
    parameters["weight_ih_l0"][0, :] = 1.0
    parameters["weight_hh_l0"][0, 0] = 1.0  # counts bytes
    path = saved_network(tmp_path, parameters, vocabulary, cell="rnn_relu", hidden=1)
    assert study(path, "aé☃b").values[:, 0].tolist() == [1, 3, 6, 7]


def test_characters_that_the_network_does_not_know_are_left_out_and_counted(counter):
    found = study(counter, CLASSES_TEXT.replace("stop", "st☃☃p"))
    assert "☃" not in found.text
    assert found.skipped == 24
    with pytest.raises(UsageError, match="has 3 characters, and the network knows 1 of them"):
        study(counter, "☃☃(")


def test_a_class_without_characters_says_so(counter):
    missing = {score.name: score.missing for score in study(counter, "do not (stop) " * 20).classes}
    assert missing == {
        "quotes": "no such character in the first half",
        "brackets": "",
        "line-end": "no such character in the first half",
        "indentation": "no such character in the first half",
    }


def test_levels_divide_the_range_of_a_unit(counter):
    levels, low, high = study(counter).levels("h0.1")
    assert (low, high) == (0, 1)
    assert set(levels) == {0, 9}
    assert set(study(counter).levels("h0.0")[0]) == {0}


def test_the_part_to_look_at_starts_a_line_and_has_most_changes_of_the_class(counter):
    text = "a b a b\n" * 30 + "(a) (b) (x)\n" * 3 + "a b a b\n" * 3
    part = study(counter, text).excerpt("brackets", 30)
    assert text[part] == "(a) (b) (x)\n(a) (b) (x)\n(a) (b"
    assert text[study(counter, text).excerpt(None, 8)] == "a b a b\n"


def test_an_unknown_unit_is_refused_with_what_units_are_called(counter):
    fix = r"Fix: write a layer \(h0\) and a number below 3, such as h0.2"
    with pytest.raises(UsageError, match=rf"unknown unit 'h9.9'. {fix}"):
        study(counter).scores_of("h9.9")


def test_units_need_a_text(tmp_path):
    parameters = zero_weights(ReluRNN(), Vocabulary("ab"), 1)
    path = tmp_path / "trained.safetensors"
    save(path, parameters, trial_of(cell="rnn_relu"), None)
    with pytest.raises(UsageError, match=r"task 'copy', which is not text.*Fix: name a trial of"):
        harness.units(path)


def test_without_a_text_the_network_reads_the_start_of_its_validation_text(tmp_path):
    (tmp_path / "corpus.txt").write_text(CLASSES_TEXT * 2)
    options = {"corpus": str(tmp_path / "corpus.txt"), "split": 0.5}
    vocabulary = Vocabulary(SYMBOLS)
    path = saved_network(
        tmp_path,
        zero_weights(ReluRNN(), vocabulary, 1),
        vocabulary,
        cell="rnn_relu",
        hidden=1,
        task_options=options,
    )
    found = harness.units(path, characters=300)
    assert found.source == "its validation text"
    assert found.text == CLASSES_TEXT[:300]
    assert len(harness.units(path).text) == len(CLASSES_TEXT) - 1


def test_a_study_is_short_as_text_and_has_its_table_and_colours_in_a_notebook(counter):
    found = study(counter)
    assert repr(found).endswith(f"3 units over {len(CLASSES_TEXT)} characters of the text given.>")
    html = found._repr_html_()
    assert "<td>brackets</td><td>h0.1</td><td>1.00</td>" in html
    assert 'background: rgb(245, 150, 50); color: rgb(16, 16, 16)">(a, b</span>' in html


def test_a_view_of_a_text_without_any_class_has_no_unit(counter):
    view = study(counter, "do not stop " * 20).view()
    assert view.unit is None
    assert "<pre" not in view._repr_html_()
    assert len(view.remarks()) == 4


def test_a_view_says_if_the_best_units_tell_no_more_than_the_character(tmp_path):
    vocabulary = Vocabulary(SYMBOLS)
    parameters = zero_weights(ReluRNN(), vocabulary, 1)
    path = saved_network(tmp_path, parameters, vocabulary, cell="rnn_relu", hidden=1)
    remark = "The best units tell no more than the current character alone."
    assert study(path).view().remarks() == [remark]
    assert remark not in study(bracket_counter(tmp_path)).view().remarks()


def test_an_unknown_class_is_refused_with_the_names_there_are(counter):
    with pytest.raises(UnknownNameError, match=r"unknown class of characters 'quote'.*quotes"):
        study(counter).view("quote")
