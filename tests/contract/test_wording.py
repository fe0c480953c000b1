"""Free text that plugins and files bring, made safe to show."""

import pytest

from harness.contract.wording import LONGEST, printable, shortened


@pytest.mark.parametrize(
    "code", [0x1B, 0x9F, 0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
def test_a_character_that_a_terminal_would_obey_is_shown_as_an_escape(code):
    shown = printable(f"a{chr(code)}b")
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.encode().decode("unicode_escape") == f"a{chr(code)}b"


def test_other_text_is_shown_as_it_is():
    assert printable("T → 5, שלום, 時間\n\t") == "T → 5, שלום, 時間\n\t"


def test_text_that_is_too_long_is_cut_with_how_much_more_there_is():
    assert shortened("y" * LONGEST) == "y" * LONGEST
    assert shortened("y" * 5_000_000) == "y" * LONGEST + " ... (4998000 characters more)"
