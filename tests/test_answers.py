"""Questions to backends before anything runs: a broken one is named, and costs nobody else anything."""

import sys

import pytest

from harness import answers
from harness.cells import LSTM
from harness.contract import Available, Missing, UnavailableError
from harness_numpy import NumpyBackend

QUESTIONS = {
    "variants": lambda backend: answers.variants(backend, LSTM()),
    "missing_variants": answers.missing_variants,
    "default_variant": lambda backend: answers.default_variant(backend, LSTM(), None),
    "devices": answers.devices,
    "versions": answers.versions,
    "environment": lambda backend: answers.environment(backend, 1),
}


def broken(question, answer):
    def reply(self, *arguments):
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return type("Odd", (NumpyBackend,), {"name": "odd", question: reply})()


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("answer", [None, ValueError("no idea"), SystemExit("no idea")])
def test_a_backend_that_fails_to_answer_is_named_with_the_question(question, answer):
    with pytest.raises(UnavailableError, match=rf"backend 'odd' is broken: {question}\(\) .*(None|no idea).* Cure: "):
        QUESTIONS[question](broken(question, answer))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("variants", ("loop", None)),
        ("devices", [None]),
        ("missing_variants", {"loop": None}),
        ("environment", {"THREADS": None}),
        ("environment", {None: "1"}),
    ],
)
def test_each_entry_of_an_answer_is_looked_at(question, answer):
    with pytest.raises(UnavailableError, match=rf"{question}\(\) returned .*None"):
        QUESTIONS[question](broken(question, answer))


def test_no_device_at_all_is_broken():
    with pytest.raises(UnavailableError, match=r"devices\(\) returned none"):
        answers.devices(broken("devices", ()))


@pytest.mark.parametrize("answer", [None, OSError("no driver")])
def test_a_backend_that_cannot_say_whether_it_runs_is_missing(answer):
    found = answers.availability(broken("availability", answer))
    assert isinstance(found, Missing)
    assert found.reason.startswith("broken: availability() ")


def test_an_honest_answer_is_passed_on():
    backend = NumpyBackend()
    assert isinstance(answers.availability(backend), Available)
    assert answers.devices(backend) == ("cpu",)


def test_what_a_backend_prints_stays_off_stdout(capsys):
    class Talkative(NumpyBackend):
        def devices(self):
            print("hello")
            return super().devices()

    answers.devices(Talkative())
    assert capsys.readouterr() == ("", "hello\n")


def test_launches_side_by_side_ask_for_an_environment_and_leave_stdout_as_it_is():
    seen = []

    class Looking(NumpyBackend):
        def environment(self, threads, devices=1):
            seen.append(sys.stdout)
            return {}

    answers.environment(Looking(), 1)
    assert seen == [sys.stdout]


def test_a_deviation_is_a_sentence_or_none():
    assert answers.deviation(NumpyBackend(), LSTM(), "vectorised") is None
    with pytest.raises(UnavailableError, match=r"deviation\(\) returned 3"):
        answers.deviation(broken("deviation", 3), LSTM(), "vectorised")
