"""The headline: what it says follows from the records, and it names no winner where there is none."""

from harness.contract import Record, Trial
from harness_results.page import fast, learns, reaches
from harness_results.page.headline import contents, headline
from harness_results.page.words import at_lengths, listed


def at(minute):
    return f"2026-01-01T00:{minute:02}:00+00:00"


def make(engine="a:x", cell="lstm", length=20, *, speed=100.0, half=0.01, status="ok", details=None, turn=0, **figures):
    """One record of three launches, which take turns with those of the other engines."""
    backend, variant = engine.split(":")
    trial = Trial(backend=backend, variant=variant, task="copy", cell=cell, length=length)
    known = {
        "loss_validation": 0.1, "loss_ratio": 0.5, "solved": False, "tokens_per_second": speed, "gradient_horizon": 3,
        "tokens_per_second_low": speed * (1 - half), "tokens_per_second_high": speed * (1 + half), "parity_error": 1e-7,
    }  # fmt: skip
    order = sum(map(ord, engine + cell)) % 2  # each round the other one comes first
    starts = [at(10 * turn + 4 * launch + (order + launch) % 2) for launch in range(3)]
    launches = {"launch_figures": [{"status": "ok", "started_at": start} for start in starts], "launches": 3}
    return Record(
        trial, status, None, known | figures if status == "ok" else {}, details=launches | (details or {}),
        started_at=starts[0],
    )  # fmt: skip


def test_a_winner_needs_intervals_that_are_apart():
    apart, together = [make("a:x"), make("b:x", speed=120)], [make("a:x", half=0.3), make("b:x", speed=120)]
    assert fast.who_is_fast(apart) == "b:x is clearly the fastest in the one comparison (1.20 times the next)"
    assert fast.who_is_fast(together).startswith("no clear winner among the engines")


def test_a_winner_needs_more_than_the_noise_floor():
    assert "no clear winner" in fast.who_is_fast([make("a:x", half=0), make("b:x", speed=102, half=0)])


def test_a_wide_third_interval_takes_the_win_away():
    three = [make("a:x"), make("b:x", speed=120), make("c:x", speed=90, half=0.5)]
    assert "no clear winner" in fast.who_is_fast(three)


def test_another_function_is_in_no_answer_and_named_as_left_out():
    other = make("b:x", "gru", speed=900, solved=True, details={"deviation": "resets first"})
    told = headline([make("a:x"), make("a:x", "gru"), other])
    assert not any("b:x" in sentence for answer in told for _, sentence in answer.sentences)
    assert all(answer.basis.endswith("computes another function: gru of b:x.") for answer in told)
    assert told[0].sentences == (("copy", "not solved by lstm and gru."),)


def test_what_was_not_held_against_the_reference_wins_nothing_and_is_counted():
    unverified = make("b:x", speed=900, parity_error=None)
    assert fast.who_is_fast([make("a:x"), unverified]).startswith("one engine only, a:x")
    assert "1 trial not held against the reference is left out." in fast.basis([make("a:x"), unverified])


def test_a_winner_whose_launches_took_no_turns_needs_more_than_the_drift():
    together = [make("a:x"), make("b:x", speed=110)]
    apart = [make("a:x"), make("b:x", speed=110, turn=3)]
    assert fast.who_is_fast(together).startswith("b:x is clearly the fastest")
    assert fast.who_is_fast(apart).startswith("no clear winner")
    assert fast.who_is_fast([apart[0], make("b:x", speed=120, turn=3)]).startswith("b:x is clearly the fastest")
    assert "(so in 1 of 1 comparison here)" in fast.basis(apart)
    assert "here)" not in fast.basis(together)


def test_another_machine_is_no_rival():
    elsewhere = Record(make("b:x").trial, "ok", None, make("b:x", speed=900).figures, environment_id="e2")
    assert "no two engines were measured" in fast.who_is_fast([make("a:x"), elsewhere])


def test_what_is_solved_where():
    records = [make(length=n, solved=n < 40, loss_ratio=0.01 if n < 40 else 1.0) for n in (10, 20, 40)]
    assert learns.who_learns(records) == "solved at T = 10 and 20 (at the baseline in 1 of 3 trials) by lstm"
    assert learns.who_learns([make(status="failed")]) == "no trial ended well"


def test_cells_that_do_the_same_are_told_together():
    assert learns.who_learns([make(cell="rnn"), make(cell="gru")]) == "not solved by rnn and gru"


def test_texts_that_are_close_have_no_winner():
    ladder = {"task": {"ngram_losses": {"bigram": 2.0}}}
    close = [make(cell=cell, loss_validation=loss, details=ladder) for cell, loss in (("rnn", 2.0), ("gru", 2.01))]
    assert learns.who_learns(close).startswith("no clear winner: rnn's 2.00 and gru's 2.01 are within 1%")
    apart = [make(cell=cell, loss_validation=loss, details=ladder) for cell, loss in (("rnn", 2.0), ("gru", 1.5))]
    assert learns.who_learns(apart).startswith("the lowest validation loss is gru's 1.50")


def test_a_gradient_that_never_falls_reaches_all_the_way():
    whole = make(cell="lstm", gradient_horizon=20, details={"gradient_horizon_censored": True})
    told = reaches.whose_gradient_reaches_back([whole, make(cell="rnn")])
    assert told.startswith("at T = 20 it reaches back all the way with lstm and 3 steps with rnn")
    assert told.endswith("it vanishes before T/2 in 1 trial of rnn")


def test_every_answer_says_what_it_rests_on():
    answers = headline([make("a:x"), make("b:x")])
    assert [answer.question[:3] for answer in answers] == ["Who", "Who", "Who"]
    assert all(answer.basis and answer.sentences[0][0] == "copy" for answer in answers)
    assert "one seed" in answers[0].basis


def test_what_the_page_is_about():
    assert contents([make("a:x"), make("b:x", status="failed")]) == (
        "2 trials, 1 ended well: 1 task (copy), 1 cell (lstm) and 2 engines (a:x and b:x), T = 20."
    )


def test_lengths_in_words():
    assert at_lengths([10, 20, 40], [10, 20, 40]) == "at every T"
    assert at_lengths([10, 20, 40], [10, 20, 40, 80]) == "at T = 10 to 40"
    assert at_lengths([10, 80], [10, 20, 40, 80]) == "at T = 10 and 80"
    assert listed(["a", "b", "c"], 2) == "a and 2 more"
