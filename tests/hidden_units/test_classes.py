import numpy as np
import pytest

from harness.hidden_units.classes import CLASSES, class_masks


def inside(text, name):
    """Return the text with a dot for each character outside the class."""
    mask = class_masks(text)[name]
    return "".join(c if member else "." for c, member in zip(text, mask, strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a "bc" d', '.."bc...'),
        ('"a" b "c"', '"a...."c.'),
        ('"a" b "c', '"a......'),  # the last mark has no partner
        ('it "is\n\nnot" closed', "." * 19),  # a blank line ends the paragraph
        ('"over\na line" end', '"over\na line.....'),
        ('x """doc""" y', '.."."doc."...'),
        ("“a” b", "“a..."),
        ("don't", "....."),
    ],
)
def test_quotes_have_a_partner_in_their_paragraph(text, expected):
    assert inside(text, "quotes") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f(a[0], b) c", ".(a[0], b..."),
        ("a) b (c", "......."),
        ("(a ] b) {c}", "(a ] b..{c."),
        ("(a [b) c]", "(a [b...."),  # the bracket that is not closed inside is dropped
        ("(a\n \nb)", "......."),
    ],
)
def test_brackets_have_a_partner_in_their_paragraph(text, expected):
    assert inside(text, "brackets") == expected


def test_a_character_is_near_the_end_of_a_line_up_to_ten_before_its_break():
    text = "x" * 15 + "\n" + "y" * 4 + "\n\nno break"
    assert inside(text, "line-end") == "." * 5 + "x" * 10 + "\nyyyy\n" + "." * 9


def test_indentation_is_blanks_before_everything_else_of_a_line():
    assert inside("  a b\n\t c\nd  e", "indentation") == "  ....\t ......"


def test_every_class_has_a_mask_even_of_an_empty_text():
    masks = class_masks("")
    assert tuple(masks) == CLASSES
    assert all(mask.shape == (0,) and mask.dtype == np.bool_ for mask in masks.values())
