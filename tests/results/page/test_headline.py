"""The headline follows from the records, and names no winner if there is none."""

import pytest

from harness.contract import Record, Trial
from harness_results.page import fast, learns, reaches
from harness_results.page.headline import contents, headline, in_one_line, title_of
from harness_results.text.words import at_lengths, listed
from launched import launched


def make(
    engine="a:x", cell="lstm", length=20, *, speed=100.0, spread=0.01, status="ok", details=None,
    turn=0, launches=5, trial=None, **figures,
):  # fmt: skip
    """One record of five launches, which take turns with those of the other engines."""
    backend, variant = engine.split(":")
    settings = {
        "backend": backend, "variant": variant, "task": "copy", "cell": cell, "length": length,
    } | (trial or {})  # fmt: skip
    defaults = {
        "loss_validation": 0.1, "loss_ratio": 0.5, "solved": False, "gradient_horizon": 3,
        "tokens_per_second": speed, "tokens_per_second_low": speed * (1 - spread),
        "tokens_per_second_high": speed * (1 + spread), "parity_error": 1e-7,
    }  # fmt: skip
    all_figures = defaults | figures if status == "ok" else {}
    record = Record(Trial(**settings), status, None, all_figures, details=details or {})
    return launched(record, launches, spread, minutes=60 * turn, place=sum(map(ord, engine + cell)))


def test_a_winner_needs_intervals_that_are_apart():
    apart = [make("a:x"), make("b:x", speed=120)]
    together = [make("a:x", spread=0.3), make("b:x", speed=120)]
    assert (
        fast.who_is_fast(apart)
        == "b:x is clearly the fastest in the one comparison (1.20 times the next)"
    )
    assert fast.who_is_fast(together) == (
        "no clear winner among the engines in the one comparison: 1 too close to tell"
    )


@pytest.mark.parametrize("launches", [1, 2, 4])
def test_below_five_launches_nothing_is_the_fastest(launches):
    records = [make("a:x", launches=launches), make("b:x", speed=900, launches=launches)]
    assert fast.who_is_fast(records) == (
        "no clear winner among the engines in the one comparison: fewer than 5 launches of each"
    )


def test_doubts_are_those_of_the_comparisons_without_a_winner():
    clear = [make("a:x", length=n, turn=n) for n in (10, 20)]
    clear += [make("b:x", length=n, speed=150, turn=n) for n in (10, 20)]
    near = [make("a:x", length=30, spread=0.3, turn=30), make("b:x", length=30, turn=30)]
    sentence = fast.who_is_fast([*clear, *near])
    assert "clearly the fastest in 2 of 3 comparisons" in sentence
    assert sentence.endswith("no clear winner in 1 of 3 comparisons: 1 too close to tell")


def test_a_winner_needs_more_than_the_noise_floor_assumed_or_measured():
    near = [make("a:x", spread=0), make("b:x", speed=102, spread=0)]
    assert "no clear winner" in fast.who_is_fast(near)
    noisy = {"noise_floor": {"value": 0.3, "measured": True}}
    assert "no clear winner" in fast.who_is_fast(
        [make("a:x", details=noisy), make("b:x", speed=120)]
    )
    assert "3.0% assumed" in fast.basis(near)
    assert "30.0% measured" in fast.basis([make("a:x", details=noisy), make("b:x", details=noisy)])


def test_a_task_without_a_trained_network_comes_last():
    failed = make(status="timeout", trial={"task": "adding"})
    lines = dict(headline([failed, make()]).lines)
    assert lines["Learning"] == "copy: not solved by lstm; adding: no trial ended well."


def test_a_third_that_scatters_takes_the_win_away():
    three = [make("a:x"), make("b:x", speed=120), make("c:x", speed=90, spread=0.5)]
    assert "no clear winner" in fast.who_is_fast(three)


def test_many_comparisons_take_more_than_five_launches_whatever_task_they_are_of():
    def sentences(tasks, launches):
        trials = [{"task": f"t{task}", "seed": seed} for task in range(tasks) for seed in range(2)]
        pairs = [
            make(engine, speed=speed, trial=trial, launches=launches)
            for trial in trials
            for engine, speed in (("a:x", 100), ("b:x", 120))
        ]
        return headline(pairs).in_full[1].sentences

    won = "b:x is clearly the fastest in 2 of 2 comparisons (1.20 times the next)."
    assert {text for _, text in sentences(3, 5)} == {won}
    assert {text for _, text in sentences(4, 6)} == {won}
    none = "no clear winner among the engines in all 2 comparisons: 2 too close to tell."
    assert {text for _, text in sentences(4, 5)} == {none}


def test_a_warm_up_that_was_too_short_is_counted():
    flagged = {
        "flags": ["3 of 5 launches: warm-up ended before block times were flat: raise --steps"]
    }
    records = [make("a:x", details=flagged), make("b:x")]
    assert "In 1 of 2 trials the warm-up ended before block times were flat." in fast.basis(records)
    assert "warm-up" not in fast.basis(records[1:])


def test_another_function_is_in_no_answer_and_named_as_left_out():
    other = make("b:x", "gru", speed=900, solved=True, details={"deviation": "resets first"})
    headlines = headline([make("a:x"), make("a:x", "gru"), other]).in_full
    for answer in headlines:
        assert not any("b:x" in sentence for _, sentence in answer.sentences)
        assert answer.basis.endswith("computes another function: gru of b:x.")
    assert headlines[0].sentences == (("copy", "not solved by lstm and gru."),)


def test_what_was_not_held_against_the_reference_wins_nothing_and_is_counted():
    unverified = make("b:x", speed=900, parity_error=None)
    assert fast.who_is_fast([make("a:x"), unverified]).startswith("one engine only, a:x")
    assert "1 trial not held against the reference is left out." in fast.basis(
        [make("a:x"), unverified]
    )


def test_a_winner_whose_launches_took_no_turns_needs_more_than_the_drift():
    together = [make("a:x"), make("b:x", speed=110)]
    apart = [make("a:x"), make("b:x", speed=110, turn=3)]
    assert fast.who_is_fast(together).startswith("b:x is clearly the fastest")
    assert fast.who_is_fast(apart).startswith("no clear winner")
    assert fast.who_is_fast([apart[0], make("b:x", speed=130, turn=3)]).startswith(
        "b:x is clearly the fastest"
    )
    assert "(here in 1 of 1 comparison)" in fast.basis(apart)
    assert "(here in" not in fast.basis(together)


def test_another_machine_is_no_rival():
    elsewhere = Record(
        make("b:x").trial, "ok", None, make("b:x", speed=900).figures, environment_id="e2"
    )
    assert "no two engines were measured" in fast.who_is_fast([make("a:x"), elsewhere])


def test_what_is_solved_where():
    records = [
        make(length=n, solved=n < 40, loss_ratio=0.01 if n < 40 else 1.0) for n in (10, 20, 40)
    ]
    assert (
        learns.who_learns(records)
        == "solved at T = 10 and 20 (at the baseline in 1 of 3 trials) by lstm"
    )
    assert learns.who_learns([make(status="failed")]) == "no trial ended well"


def test_cells_that_do_the_same_are_told_together():
    assert learns.who_learns([make(cell="rnn"), make(cell="gru")]) == "not solved by rnn and gru"


def test_texts_that_are_close_have_no_winner():
    ladder = {"task": {"ngram_losses": {"bigram": 2.0}}}
    close = [
        make(cell=cell, loss_validation=loss, details=ladder)
        for cell, loss in (("rnn", 2.0), ("gru", 2.01))
    ]
    assert learns.who_learns(close).startswith(
        "no clear winner: rnn's 2.00 and gru's 2.01 are within 1%"
    )
    apart = [
        make(cell=cell, loss_validation=loss, details=ladder)
        for cell, loss in (("rnn", 2.0), ("gru", 1.5))
    ]
    assert learns.who_learns(apart).startswith("the lowest validation loss is gru's 1.50")


def test_a_gradient_that_never_falls_reaches_all_the_way():
    whole = make(cell="lstm", gradient_horizon=20, details={"gradient_horizon_censored": True})
    text = reaches.whose_gradient_reaches_back([whole, make(cell="rnn")])
    assert text.startswith("at T = 20 it reaches back all the way with lstm and 3 steps with rnn")
    assert text.endswith("it vanishes before T/2 in 1 trial of rnn")


def test_every_answer_says_what_it_rests_on():
    headlines = headline([make("a:x"), make("b:x")]).in_full
    assert [answer.question[:3] for answer in headlines] == ["Who", "Who", "Who"]
    assert all(answer.basis and answer.sentences[0][0] == "copy" for answer in headlines)
    assert "one seed" in headlines[0].basis


def test_what_the_page_is_about():
    assert contents([make("a:x"), make("b:x", status="failed")]) == (
        "2 trials, 1 ended well, with a:x and b:x."
    )


def test_the_usual_title_says_what_the_page_holds():
    records = [make(length=10), make(cell="rnn", trial={"task": "adding"})]
    assert title_of(records) == "lstm and rnn on copy and adding, T = 10 to 20"
    assert title_of(records[:1]) == "lstm on copy, T = 10"


def test_a_line_for_each_question():
    records = [
        make(
            length=10, solved=True, gradient_horizon=10, details={"gradient_horizon_censored": True}
        ),
        make(length=20),
        make(cell="rnn", length=20),
    ]
    assert dict(headline(records).lines) == {
        "Learning": "solved at T = 10 by lstm; not solved by rnn.",
        "Gradient reach": "3 steps (lstm, rnn) at T = 20.",
        "Speed": "tokens/s: 100 (a:x).",
    }


def test_tasks_of_which_the_same_is_found_share_a_clause():
    records = [make(), make(trial={"task": "adding"})]
    assert headline(records).lines[0] == ("Learning", "copy and adding: not solved by lstm.")


def test_a_line_names_a_winner_only_if_the_rule_of_compare_does():
    speed = [headline([make("a:x"), make("b:x", speed=s)]).lines[2][1] for s in (120, 101)]
    assert speed == [
        "b:x is clearly the fastest in the one comparison (1.20 times the next).",
        "no clear winner among the engines in the one comparison: 1 too close to tell.",
    ]


def test_a_text_is_compared_with_the_best_of_its_ngram_models_by_name():
    ladder = {"task": {"ngram_losses": {"unigram": 3.0, "trigram": 2.0}}}
    records = [
        make(cell=cell, loss_validation=2 * ratio, loss_ratio=ratio, details=ladder)
        for cell, ratio in (("rnn", 0.85), ("lstm", 0.73))
    ]
    line = headline(records).lines[0][1]
    assert line == "0.730 (lstm) and 0.850 (rnn) times the trigram model's loss."


def test_losses_on_several_texts_are_not_ordered_by_themselves():
    records = [
        make(
            cell=cell,
            loss_validation=ratio * base,
            loss_ratio=ratio,
            details={"task": {"ngram_losses": {"trigram": base}}},
        )
        for cell, ratio, base in (("rnn", 1.2, 1.0), ("lstm", 0.9, 2.0))
    ]
    assert learns.who_learns(records) == (
        "on several texts, 0.900 (lstm) and 1.20 (rnn) times the trigram model's loss; "
        "1 of 2 trials is below the n-gram models"
    )


def test_what_does_not_fit_into_a_line_is_counted():
    clauses = ["a" * 60, "b" * 60, "c" * 60]
    assert in_one_line(clauses) == f"{'a' * 60}; 2 more below."
    assert in_one_line(clauses[:1]) == f"{'a' * 60}."
    assert in_one_line(["x" * 500, "y"]) == f"{'x' * 500}; 1 more below."


def test_lengths_in_words():
    assert at_lengths([10, 20, 40], [10, 20, 40]) == "at every T"
    assert at_lengths([10, 20, 40], [10, 20, 40, 80]) == "at T = 10 to 40"
    assert at_lengths([10, 80], [10, 20, 40, 80]) == "at T = 10 and 80"
    assert listed(["a", "b", "c"], 2) == "a and 2 more"


def test_a_length_at_which_a_trial_failed_is_not_claimed():
    records = [make(length=n, solved=True) for n in (10, 20)]
    records.append(make(length=30, status="diverged"))
    assert list(learns.in_short(records)) == ["solved at T = 10 and 20 by lstm"]


def test_two_texts_have_no_common_model():
    records = [
        make(cell=cell, loss_ratio=ratio, details={"task": {"ngram_losses": {name: 2.0}}})
        for cell, ratio, name in (("rnn", 0.85, "bigram"), ("lstm", 0.73, "trigram"))
    ]
    assert next(learns.in_short(records)).endswith(" times the best n-gram model's loss")
