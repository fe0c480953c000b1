import os
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import paths
from harness.contract import CorpusError, Evaluation, Inputs, UsageError
from harness.testing.compare import run_check
from harness.testing.tasks import checks_for_task
from harness_tasks import Char
from harness_tasks.texts import ngrams, streams

TEST_DATA = Path(os.environ.get("HARNESS_TEST_DATA", paths.ROOT.parent / "shared" / "data"))
SHAKESPEARE = TEST_DATA / "tinyshakespeare.txt"


def rng(seed=0):
    return np.random.default_rng(seed)


def char(length=5, **options):
    task = Char(Char.Options(**options), length)
    task.check()
    task.prepare(np.random.SeedSequence(0))
    return task


@pytest.fixture
def counting(tmp_path):
    """Make tasks over the text of the numbers from 1000 up: every position is recognisable."""
    path = tmp_path / "numbers.txt"
    path.write_text("".join(f"{n} " for n in range(1000, 1400)))  # 2000 characters

    def make(length=5, **options):
        return char(length, corpus=str(path), **options)

    make.text = path.read_text()
    return make


def texts(task, batches):
    """Return inputs and targets of successive batches as text per stream, without masked steps."""

    def text(name, b):
        pieces = [getattr(batch, name)[:, b][batch.mask[:, b]] for batch in batches]
        return "".join(map(task.vocabulary.decode, pieces))

    return [(text("inputs", b), text("targets", b)) for b in range(batches[0].size)]


@settings(max_examples=50, deadline=None)
@given(
    size=st.integers(2, 300), count=st.integers(1, 8), length=st.integers(1, 40), pad=st.booleans()
)
def test_windows_follow_one_another_through_each_stream(size, count, length, pad):
    text, count = np.arange(size, dtype=np.uint16), min(count, size - 1)
    batches = list(streams.windows(text, count, length, pad=pad))
    per_stream, over = divmod(size - 1, count)
    steps = [
        per_stream + (b < over) if pad else per_stream // length * length for b in range(count)
    ]
    starts = np.cumsum([0, *steps]) if pad else per_stream * np.arange(count)
    assert len(batches) == -(-max(steps) // length)
    assert all(batch.mask.any() and batch.time_steps == length for batch in batches)
    assert [batch.carry for batch in batches] == [place > 0 for place in range(len(batches))]
    for b in range(count if batches else 0):
        inputs, targets = (
            np.concatenate([getattr(batch, name)[batch.mask[:, b], b] for batch in batches])
            for name in ("inputs", "targets")
        )
        np.testing.assert_array_equal(inputs, starts[b] + np.arange(steps[b]))
        np.testing.assert_array_equal(targets, inputs + 1)


def test_an_epoch_reproduces_the_training_text_and_then_starts_again(counting):
    task = counting(length=10)
    # 1800 characters: streams of 599, 59 windows.
    batches = list(islice(task.training(rng(), 3), 2 * 59))
    assert [place for place, batch in enumerate(batches) if not batch.carry] == [0, 59]
    for b, (inputs, targets) in enumerate(texts(task, batches[:59])):
        assert inputs == counting.text[b * 599 : b * 599 + 590]
        assert targets == counting.text[b * 599 + 1 : b * 599 + 591]
    np.testing.assert_array_equal(batches[0].inputs, batches[59].inputs)


def test_shuffled_windows_are_those_of_the_streams_in_another_order_from_a_zero_state(counting):
    length, batch, epoch = 10, 3, 59
    carried = list(islice(counting(length).training(rng(), batch), epoch))
    shuffled = list(islice(counting(length, order="shuffled").training(rng(), batch), 2 * epoch))
    assert not any(batch.carry for batch in shuffled)

    def pairs(batches):
        return [(*b.inputs[:, n], *b.targets[:, n]) for b in batches for n in range(batch)]

    first, second = pairs(shuffled[:epoch]), pairs(shuffled[epoch:])
    assert sorted(first) == sorted(second) == sorted(pairs(carried))
    assert first != second != pairs(carried)


def test_equal_generators_shuffle_equally(counting):
    first, again, other = (
        next(counting(order="shuffled").training(rng(seed), 4)).inputs for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_usual_order_is_left_out_of_what_trials_store():
    assert "order" not in Char.Options().model_dump(mode="json")
    stored = Char.Options(order="shuffled").model_dump(mode="json")
    assert Char.Options(**stored).order == "shuffled"


def test_batches_are_time_major_tokens_of_the_vocabulary(counting):
    task = counting()
    batch = next(task.training(rng(), 4))
    assert batch.inputs.shape == batch.targets.shape == batch.mask.shape == (5, 4)
    assert batch.inputs.dtype == batch.targets.dtype == np.int32
    assert task.vocabulary.symbols == " 0123456789"
    assert (task.inputs, task.outputs, task.loss) == (Inputs("token", 11), 11, "cross_entropy")


@pytest.mark.parametrize(("length", "batch", "used"), [(10, 3, 3), (60, 32, 3), (500, 32, 1)])
def test_validation_reads_the_last_tenth_in_fewer_streams_where_it_is_short(
    counting, length, batch, used
):
    task = counting(length=length)
    held_out = counting.text[1800:]
    read = texts(task, task.validation(rng(), batch))
    steps = [199 // used + (b < 199 % used) for b in range(used)]
    starts = [sum(steps[:b]) for b in range(used)]
    assert [inputs for inputs, _ in read] == [
        held_out[at:][:n] for at, n in zip(starts, steps, strict=True)
    ]
    # What the n-gram models are scored on.
    assert "".join(targets for _, targets in read) == held_out[1:]


def test_the_baseline_is_that_of_the_very_characters_that_validation_scores(counting):
    task = counting(length=7, limit=1500)
    scored = [
        batch.targets[:, b][batch.mask[:, b]]
        for batch in task.validation(rng(), 5)
        for b in range(5)
    ]
    unigram = (
        np.bincount(task.text.tokens[: task.facts()["training_characters"]], minlength=11) + 0.1
    )
    loss = -np.log(unigram / unigram.sum())[np.concatenate(scored)].mean()
    assert task.facts()["ngram_losses"]["unigram"] == pytest.approx(loss, rel=1e-12)


def test_training_never_sees_the_validation_text(counting):
    task = counting(length=10)
    read = " ".join(inputs for inputs, _ in texts(task, list(islice(task.training(rng(), 3), 200))))
    held_out = {counting.text[at : at + 10] for at in range(1801, 1990)}
    assert not any(piece in read for piece in held_out)


def test_validation_characters_bound_network_and_ngrams_alike(counting):
    task = counting(validation_characters=41)
    assert sum(int(batch.mask.sum()) for batch in task.validation(rng(), 8)) == 40
    assert task.facts()["validation_characters"] == 41
    assert task.baseline() != counting().baseline()


@given(seed=st.integers(0, 2**32), batches=st.integers(1, 70))
@settings(max_examples=20, deadline=None)
def test_a_training_sample_is_consecutive_training_text_of_as_many_batches(seed, batches):
    task = char(length=10, corpus="grammar", limit=2000)
    sample = task.training_sample(rng(seed), 4, batches)
    text = task.vocabulary.decode(task.text.tokens[:1800].astype(np.int32))
    assert len(sample) == batches
    assert not sample[0].carry
    first_pass = list(
        islice(sample, next((n for n, b in enumerate(sample) if n and not b.carry), batches))
    )
    assert all(inputs in text for inputs, _ in texts(task, first_pass))


def test_bytes_are_a_vocabulary_of_256(tmp_path):
    path = tmp_path / "any.bin"
    path.write_bytes(bytes(range(256)) * 8)
    task = char(corpus=str(path), vocabulary="bytes")
    assert (task.inputs.size, task.facts()["distinct"]) == (256, 256)
    np.testing.assert_array_equal(next(task.training(rng(), 1)).targets[:, 0], [1, 2, 3, 4, 5])


def test_a_limit_keeps_the_start_of_the_text(counting):
    task = counting(limit=300)
    assert (
        task.vocabulary.decode(np.asarray(task.text.tokens, dtype=np.int32)) == counting.text[:300]
    )
    assert task.facts()["training_characters"] == 270


def brute_force_loss(training, validation, size, order, alpha):
    """The definition, one character at a time."""
    seen = Counter(tuple(training[i : i + order]) for i in range(len(training) - order + 1))
    tried = Counter(gram[:-1] for gram in seen.elements())
    text, losses = [*training, *validation], []
    for i in range(len(training), len(text)):
        gram = tuple(text[i - order + 1 : i + 1])
        losses.append(-np.log((seen[gram] + alpha) / (tried[gram[:-1]] + alpha * size)))
    return np.mean(losses)


@pytest.mark.parametrize("dense", [0, 1 << 22])
@pytest.mark.parametrize("chunk", [7, 1 << 20])
@settings(deadline=None)
@given(text=st.lists(st.integers(0, 3), min_size=12, max_size=80), order=st.integers(1, 3))
def test_ngram_losses_equal_a_brute_force_count(dense, chunk, text, order):
    training, validation = np.array(text[:-4], dtype=np.uint8), np.array(text[-4:], dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "_DENSE", dense)
        patch.setattr(ngrams, "_CHUNK", chunk)
        loss = ngrams.ngram_loss(training, training, validation, 4, order)
    assert loss == pytest.approx(
        brute_force_loss(text[:-4], text[-4:], 4, order, ngrams.ALPHA), rel=1e-12
    )


def test_ngrams_of_thousands_of_characters_need_no_cubic_table():
    text = rng().integers(0, 20_000, size=5_000)
    # 20,000^3 counts would be 64 TB.
    losses = ngrams.ngram_losses(text[:4_000], text[4_000:], 20_000)
    # Nothing repeats: nothing is learnt.
    assert losses["trigram"] == pytest.approx(losses["uniform"], rel=0.01)


@pytest.mark.skipif(
    not SHAKESPEARE.is_file(),
    reason=f"{SHAKESPEARE} is missing; set HARNESS_TEST_DATA to its folder",
)
def test_ngram_losses_of_tinyshakespeare_are_the_known_ones():
    task = char(corpus=str(SHAKESPEARE))
    facts = task.facts()
    known = {"uniform": 4.174, "unigram": 3.347, "bigram": 2.484, "trigram": 2.046}
    assert facts["ngram_losses"] == pytest.approx(known, abs=0.0005)  # printed to three decimals
    assert (facts["characters"], facts["distinct"], facts["validation_characters"]) == (
        1_115_394,
        65,
        111_540,
    )
    assert facts["digest"] == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    tokens, cut = task.text.tokens, facts["training_characters"]
    four = ngrams.ngram_loss(tokens[:cut], tokens[:cut], tokens[cut:], 65, 4, alpha=0.05)
    assert four == pytest.approx(1.777, abs=0.0005)


def test_the_baseline_is_the_best_ngram_and_solved_is_below_it(counting):
    task = counting()
    facts = task.facts()
    assert (
        task.baseline()
        == min(facts["ngram_losses"].values())
        == facts["ngram_losses"][facts["ngram_best"]]
    )
    assert facts["ngram_bits"]["uniform"] == pytest.approx(np.log2(11))
    assert task.solved(Evaluation(0, task.baseline() - 1e-9))
    assert not task.solved(Evaluation(0, task.baseline()))
    assert task.floor() is None


def test_a_text_without_structure_has_the_baseline_ln_v(tmp_path):
    path = tmp_path / "noise.txt"
    path.write_text("".join(rng().choice(list("abcd"), size=40_000)))
    assert char(corpus=str(path)).baseline() == pytest.approx(np.log(4), abs=0.003)


def test_accuracy_is_that_of_the_next_character(counting):
    task = counting(length=500)
    batch = task.validation(rng(), 4)[0]
    outputs = np.eye(11)[batch.targets]
    outputs[:9, 0] = np.eye(11)[(batch.targets[:9, 0] + 1) % 11]
    assert task.score(batch, outputs) == type(task.score(batch, outputs))(190, 199)


def test_the_floor_of_the_grammar_is_below_its_best_ngram():
    task = char(corpus="grammar", limit=50_000)
    assert 0 < task.floor() < task.baseline()
    assert task.facts()["entropy_rate"] == task.floor()


def test_the_grammar_follows_the_data_seed():
    def digest(seed):
        task = Char(Char.Options(corpus="grammar", limit=1000), 5)
        task.prepare(np.random.SeedSequence(seed))
        return task.facts()["digest"]

    assert digest(1) == digest(1) != digest(2)


def test_a_text_shorter_than_the_length_is_refused_before_it_is_read(counting):
    with pytest.raises(
        CorpusError, match=r"2,000 characters give 1,800 to train on .* length 1,800 needs 1,801"
    ):
        counting(length=1800)
    assert counting(length=1799).facts()["training_characters"] == 1800


def test_a_text_too_short_for_its_characters_is_refused_before_any_trial_runs(tmp_path):
    path = tmp_path / "wide.txt"
    path.write_text("é" * 50 + "è" * 50, encoding="utf-8")
    task = Char(Char.Options(corpus=str(path)), 100)
    with pytest.raises(CorpusError, match="100 characters give 90"):  # in 200 bytes
        task.check()


def test_a_text_too_short_for_the_batch_names_the_batch_that_fits(counting):
    task = counting(length=100)
    with pytest.raises(CorpusError, match="at most batch 17"):
        task.training(rng(), 18)
    assert next(task.training(rng(), 17)).size == 17


def test_nothing_is_known_before_prepare():
    with pytest.raises(UsageError, match="prepare"):
        Char(Char.Options(), 5).baseline()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("split", 1.0),
        ("split", 0.0),
        ("limit", 1),
        ("vocabulary", "words"),
        ("validation_characters", 1),
        ("corpus", ""),
    ],
)
def test_an_option_out_of_range_is_named(option, value):
    with pytest.raises(ValidationError, match=option):
        Char.Options(**{option: value})


def test_every_first_window_starts_afresh_and_no_other(counting):
    carries = [batch.carry for batch in islice(counting(length=100).training(rng(), 3), 20)]
    assert carries == [False, *[True] * 4] * 4
    assert all(batch.carry for _, batch in pairwise(counting(length=10).validation(rng(), 2)))


@pytest.mark.parametrize(
    "options",
    [{}, {"corpus": "grammar", "limit": 50_000}, {"vocabulary": "bytes", "limit": 20_000}],
    ids=str,
)
def test_char_conforms(options):
    results = [run_check(check) for check in checks_for_task(Char, options, (7, 30))]
    assert [result for result in results if not result.passed] == []


def test_a_limit_that_is_too_short_is_found_before_any_text_is_read():
    with pytest.raises(
        CorpusError, match=r"too short: 10 characters .* use a longer text \(or limit\)"
    ):
        Char(Char.Options(corpus="stdlib", limit=10), 25).check()
    with pytest.raises(CorpusError, match="corpus 'pydoc' is too short"):
        Char(Char.Options(corpus="pydoc"), 900_000).check()
