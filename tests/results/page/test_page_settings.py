"""Settings that vary are listed once, each combination with a letter."""

from chart_records import make
from harness_results.page.content import tables
from harness_results.page.settings import Letters
from harness_results.study.study import Study

FAST = {"hidden": 8, "batch": 4, "learning_rate": 0.01, "seed": 0}
SLOW = {"hidden": 16, "batch": 8, "learning_rate": 0.001, "seed": 0}


def mixed():
    return [
        make(cell=cell, length=length, trial=settings | {"seed": seed})
        for cell in ("rnn", "lstm")
        for settings in (FAST, SLOW)
        for seed in (0, 1)
        for length in (10, 20)
    ]


def test_three_settings_or_more_have_a_letter_and_seeds_keep_their_column():
    main, *minor = tables(mixed())
    assert main["axes"] == ["cell", "settings", "seed", "engine"]
    assert [words for _, words in main["sets"]] == [
        "hidden 8 · batch 4 · learning rate 0.01",
        "hidden 16 · batch 8 · learning rate 0.001",
    ]
    rows = [row["labels"] for row in main["rows"] if not row.get("reference")]
    assert rows[:3] == [
        ["rnn", "A", "0", "numpy:loop"],
        ["rnn", "A", "1", "numpy:loop"],
        ["rnn", "B", "0", "numpy:loop"],
    ]
    assert minor
    assert all("settings" in table["axes"] and not table["sets"] for table in minor)
    assert all(len(row["labels"]) == len(main["axes"]) for row in main["rows"])


def test_notes_have_letters_too():
    letters = Letters(
        ("hidden", "batch", "clip norm"), {("8", "4", "1"): "A", ("8", "4", "10"): "B"}
    )
    note = (
        "flag: rnn a:b hidden=8 batch=4 clip norm=10 T=5; lstm a:b hidden=8 batch=4 clip norm=1: x"
    )
    assert letters.note(note) == "flag: rnn a:b B T=5; lstm a:b A: x"


def test_two_settings_have_a_column_each():
    few = [make(trial={"hidden": hidden, "batch": hidden}) for hidden in (4, 8)]
    assert tables(few)[0]["axes"] == ["cell", "hidden", "batch", "engine"]
    assert tables(few)[0]["sets"] == []


def test_more_combinations_than_letters_have_columns():
    many = [make(trial={"hidden": n, "batch": n, "learning_rate": 1 / n}) for n in range(1, 28)]
    assert Letters.of(Study(many)) is None
    assert Letters.of(Study(many[:26])) is not None


def test_the_heading_of_a_panel_has_the_letter_of_its_settings():
    letters = Letters.of(Study(mixed()))
    heading = "adding · T=10\nhidden 16 · batch 8 · learning rate 0.001"
    assert letters.heading(heading) == "adding B · T=10"
    assert letters.heading("adding · T=10") == "adding · T=10"
