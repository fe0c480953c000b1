"""The task ``words``: what a word is, the cut vocabulary, the bigram baseline, and its texts."""

import math
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

import harness
from builders import saved_network, zero_weights
from harness.cells import LSTM
from harness.contract import CorpusError, UsageError, Vocabulary
from harness.contract.vocabulary import words_of
from harness.hidden_units.units import study_units
from harness.plugins import load_plugins
from harness.testing.compare import run_check
from harness.testing.tasks import checks_for_task
from harness_tasks import Words
from harness_tasks.texts.ngrams import discounted_bigram_loss
from harness_tasks.texts.text import check_words

TEXT = "the cat sat, the cat ran.\n\nthe dog's end: a well-known <unk>\n" * 30


def words(corpus, length=4, **options):
    task = Words(Words.Options(corpus=str(corpus), **options), length)
    task.check()
    task.prepare(np.random.SeedSequence(0))
    return task


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"vocabulary": 50, "limit": 5_000, "order": "shuffled"}])
def test_words_conforms(options):
    results = [run_check(check) for check in checks_for_task(Words, options, (7, 30))]
    assert [result for result in results if not result.passed] == []


def test_words_keep_marks_inside_and_part_with_those_around():
    assert words_of("A well-known dog's (end).  \n\n <unk> naïve 3.5") == [
        *("A", "well-known", "dog's", "(", "end", ")", ".", "\n", "<unk>", "naïve", "3", ".", "5")
    ]
    task_text = Vocabulary(("<unk>", "a", "\n", ".")).decode(np.array([1, 3, 2, 0, 1]))
    assert task_text == "a .\n<unk> a"


def test_the_most_frequent_words_of_the_training_text_are_known(corpus):
    corpus.write_text(TEXT + "unseen words " * 60)
    task = words(corpus, vocabulary=6)
    symbols = task.vocabulary.symbols
    counts = Counter(words_of(TEXT))
    del counts["<unk>"]
    assert symbols[0] == "<unk>"
    assert symbols[1:] == tuple(word for word, _ in counts.most_common(5))
    held_out = task.validation(np.random.default_rng(0), 2)
    assert not any(batch.targets[batch.mask].any() for batch in held_out[-2:])  # all unknown
    assert task.facts()["distinct"] == len(counts) + 3
    assert task.facts()["unknown_in_validation"] == 1.0
    assert task.inputs.size == task.outputs == 6


def test_a_stream_reads_the_words_in_their_order(corpus):
    task = words(corpus, length=5)
    batches = [batch for batch, _ in zip(task.training(None, 1), range(4), strict=False)]
    read = np.concatenate([batch.inputs[:, 0] for batch in batches])
    assert [task.vocabulary.symbols[token] for token in read] == words_of(TEXT)[:20]
    assert np.array_equal(batches[0].targets[:-1], batches[0].inputs[1:])


@pytest.mark.parametrize("limit", [None, 20])
@pytest.mark.parametrize("name", ["short", "pydoc"])
def test_a_plan_refuses_a_text_of_too_few_words_by_their_number(corpus, name, limit):
    corpus.write_text("one two\n" * 7)
    name, length = (str(corpus), 25) if name == "short" else (name, 25 if limit else 10**6)
    count = limit or (21 if length == 25 else r"\d+,\d+")
    with pytest.raises(CorpusError, match=f"too short: {count} words give"):
        Words(Words.Options(corpus=name, limit=limit), length).check()


@pytest.mark.parametrize("text", ["la " * 5000, "la la la\n" * 2000])
def test_a_text_of_one_word_has_nothing_to_predict(corpus, text):
    corpus.write_text(text)
    task = Words(Words.Options(corpus=str(corpus)), 4)
    for read in (task.check, lambda: task.prepare(np.random.SeedSequence(0))):
        with pytest.raises(CorpusError, match="only one distinct word, 'la'"):
            read()


def test_words_are_counted_until_there_are_enough(corpus):
    corpus.write_text("a b c\n" * 500)
    assert check_words("c", corpus, 10**9) == 2000
    corpus.write_text("d " * (1 << 22) + "e f")  # two pieces
    assert check_words("c", corpus, 10) == (1 << 22) + 2


def test_the_bigram_model_is_that_of_the_definition_and_sums_to_one():
    rng, size = np.random.default_rng(1), 7
    training = rng.choice(size - 1, size=200, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05])
    pairs, contexts = Counter(pairwise(training.tolist())), Counter(training[:-1].tolist())
    followers = defaultdict(set)
    for first, second in pairs:
        followers[first].add(second)
    unigram = [(training.tolist().count(w) + 0.1) / (200 + 0.1 * size) for w in range(size)]

    def p(first, second):
        if first not in contexts:
            return unigram[second]
        left = 0.75 * len(followers[first]) * unigram[second]
        return (max(pairs[first, second] - 0.75, 0) + left) / contexts[first]

    for first in range(size):  # the last never occurs
        assert math.fsum(p(first, second) for second in range(size)) == pytest.approx(1)
        for second in range(size):
            loss = discounted_bigram_loss(training, np.array([first, second]), size)
            assert loss == pytest.approx(-math.log(p(first, second)))


def test_a_network_of_words_writes_words_and_has_no_units_of_characters(tmp_path):
    vocabulary = Vocabulary(("<unk>", "\n", "dog", "cat"))
    parameters = zero_weights(LSTM(), vocabulary, 3)
    parameters["bias_out"][2] = 1.0
    path = saved_network(tmp_path, parameters, vocabulary, cell="lstm", hidden=3)
    assert harness.sample(path, length=3, temperature=0, prime="a dog") == "dog dog dog"
    with pytest.raises(UsageError, match="reads words"):
        study_units(load_plugins(), path)
