"""Metadata of backends: a broken backend is named, and harms no other."""

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from harness.cells import LSTM
from harness.contract import Available, Inputs, Missing, Model, UnavailableError, UsageError
from harness.plugins import query
from harness_numpy import NumpyBackend

MODEL = Model(LSTM(), Inputs("token", 3), 4, 1, 3, "cross_entropy")
QUESTIONS = {
    "availability": query.availability,
    "variants": lambda backend: query.variants(backend, LSTM()),
    "missing_variants": query.missing_variants,
    "default_variant": lambda backend: query.default_variant(backend, LSTM(), None),
    "fastest_variant": lambda backend: query.fastest_variant(backend, LSTM(), None),
    "deviation": lambda backend: query.deviation(backend, LSTM(), "vectorised"),
    "why_unsupported": lambda backend: query.why_unsupported(backend, MODEL, None),
    "devices": query.devices,
    "dtypes": lambda backend: query.dtypes(backend, "cpu"),
    "versions": query.versions,
    "environment": lambda backend: query.environment(backend, 1),
}


def broken(question, answer):
    def reply(self, *arguments):
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return type("Odd", (NumpyBackend,), {"name": "odd", question: reply})()


class Panic(BaseException):
    """As pyo3 raises for a panic of Rust: no ``Exception``."""


MAY_BE_NONE = ("deviation", "why_unsupported")
ERRORS = (ValueError("no idea"), UsageError("no idea"), SystemExit("no idea"), Panic("no idea"))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        *product(QUESTIONS, ERRORS),
        *product(QUESTIONS, [7]),
        *((q, None) for q in QUESTIONS if q not in MAY_BE_NONE),
    ],
)
def test_a_backend_that_fails_to_answer_is_named_with_the_question(question, answer):
    with pytest.raises(
        UnavailableError,
        match=rf"backend 'odd' is broken: {question}\(\) .*(None|7|no idea).* Fix: ",
    ):
        QUESTIONS[question](broken(question, answer))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("variants", ("loop", None)),
        ("devices", [None]),
        ("dtypes", [None]),
        ("versions", {None: "1.0"}),
        ("versions", {"odd": None}),
        ("missing_variants", {"loop": None}),
        ("environment", {"THREADS": None}),
        ("environment", {None: "1"}),
        ("availability", Missing(None, "buy one")),
        ("missing_variants", {"loop": Missing("gone", None)}),
    ],
)
def test_each_entry_of_an_answer_is_looked_at(question, answer):
    with pytest.raises(UnavailableError, match=rf"{question}\(\) returned .*None"):
        QUESTIONS[question](broken(question, answer))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("availability", Missing("", "buy one")),
        ("availability", Missing("gone", " ")),
        ("deviation", ""),
        ("why_unsupported", "\n"),
    ],
)
def test_a_sentence_says_something(question, answer):
    with pytest.raises(UnavailableError, match=rf"{question}\(\) returned "):
        QUESTIONS[question](broken(question, answer))


class UnspeakableError(Exception):
    """Neither its message nor its ``repr`` can be shown."""

    def __repr__(self):
        raise ValueError("no words")

    __str__ = __repr__


class Unlisted(list):
    """Cannot be shown."""

    def __repr__(self):
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (UnspeakableError(), "raised UnspeakableError."),
        (Unlisted([7]), "returned a Unlisted that cannot be shown."),
    ],
)
@pytest.mark.parametrize("question", QUESTIONS)
def test_what_cannot_be_turned_into_text_is_told_by_its_type(question, answer, words):
    with pytest.raises(UnavailableError) as caught:
        QUESTIONS[question](broken(question, answer))
    assert f"{question}() {words} Fix: " in str(caught.value)


@pytest.mark.parametrize(
    "answer", ["long " * 10_000, ["long " * 10_000, 7], ValueError("long " * 10_000)]
)
def test_a_long_answer_leaves_the_question_and_the_fix_to_be_read(answer):
    with pytest.raises(
        UnavailableError, match=r"devices\(\) r.* characters more\)\. Fix: "
    ) as caught:
        query.devices(broken("devices", answer))
    assert len(str(caught.value)) < 1000


def test_ctrl_c_is_nobodys_answer():
    with pytest.raises(KeyboardInterrupt):
        query.devices(broken("devices", KeyboardInterrupt()))


def test_an_answer_is_read_once():
    class Once(list):
        def __iter__(self):
            yield from [self.pop()] if self else [None]

    assert query.variants(broken("variants", Once(["loop"])), LSTM()) == ("loop",)


class Endless(dict):
    def items(self):
        raise OverflowError("no end")


@pytest.mark.parametrize(
    "answer", [{"": "1"}, {"A=B": "1"}, {"A\0": "1"}, {"A": "\0"}, {"A": "\ud800"}, Endless()]
)
def test_variables_that_no_process_can_take_are_refused(answer):
    with pytest.raises(UnavailableError, match=r"environment\(\) r"):
        query.environment(broken("environment", answer), 1)


def test_no_device_at_all_is_broken():
    with pytest.raises(UnavailableError, match=r"devices\(\) returned none"):
        query.devices(broken("devices", ()))


@pytest.mark.parametrize("answer", [None, OSError("no driver")])
def test_a_backend_that_cannot_say_whether_it_runs_is_missing(answer):
    found = query.available_or_missing(broken("availability", answer))
    assert isinstance(found, Missing)
    assert found.reason.startswith("broken: availability() ")


def test_an_honest_answer_is_passed_on():
    backend = NumpyBackend()
    assert isinstance(query.availability(backend), Available)
    assert isinstance(query.available_or_missing(backend), Available)
    assert query.availability(broken("availability", Missing("gone", "buy one"))) == Missing(
        "gone", "buy one"
    )
    assert query.why_unsupported(broken("why_unsupported", "too large"), MODEL, None) == "too large"
    assert query.devices(backend) == ("cpu",)


def test_what_a_backend_prints_stays_off_stdout(capsys):
    class Talkative(NumpyBackend):
        def devices(self):
            print("hello")
            return super().devices()

    query.devices(Talkative())
    assert capsys.readouterr() == ("", "hello\n")


def test_what_other_threads_ask_leaves_the_stdout_of_all_as_it_is():
    seen = []

    class Looking(NumpyBackend):
        def environment(self, threads, devices=1):
            seen.append(sys.stdout)
            return {}

    with ThreadPoolExecutor(1) as threads:
        threads.submit(query.environment, Looking(), 1).result()
    assert seen == [sys.stdout]


def test_a_deviation_is_a_sentence_or_none():
    assert query.deviation(NumpyBackend(), LSTM(), "vectorised") is None
    with pytest.raises(UnavailableError, match=r"deviation\(\) returned 3"):
        query.deviation(broken("deviation", 3), LSTM(), "vectorised")
