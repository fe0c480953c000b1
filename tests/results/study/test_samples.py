"""Samples of text in records: which texts a reader is shown, and in which order."""

import pytest

from harness_results.study.samples import texts, texts_over_training


def sample(step, text):
    return {"step": step, "temperature": 0.5, "prime": "\n", "text": text}


def test_texts_over_training_come_by_step():
    content = [sample(1, "qqq"), sample(2500, "the list\n"), sample(250, "\nthe the")]
    expected = [(1, "qqq"), (250, "the the"), (2500, "the list")]
    assert texts_over_training({"samples_over_training": content}) == expected


@pytest.mark.parametrize(
    "odd", [None, 3, "text", [1], [{"text": "no step"}], [{"step": "1", "text": "a"}]]
)
def test_details_of_another_kind_hold_no_texts(odd):
    assert texts_over_training({"samples_over_training": odd}) == []
    assert texts_over_training({}) == []


def test_control_characters_of_a_text_are_escaped():
    details = {"samples": [{"temperature": 0.5, "text": "a\x1b[2Jb"}]}
    details["samples_over_training"] = [sample(1, "a\x1b[2Jb")]
    assert "\x1b" not in texts(details)[0][1]
    assert "\x1b" not in texts_over_training(details)[0][1]
