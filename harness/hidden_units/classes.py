"""Classes of the characters of a text, defined by the text alone.

- ``quotes``: inside double quotes. The opening mark is inside, the closing mark is not. Marks
  without a partner in the same paragraph do not count; a blank line ends a paragraph.
- ``brackets``: inside at least one pair of ( ), [ ] or { }, by the same rules.
- ``line-end``: at most ``NEAR`` characters before a line break.
- ``indentation``: a blank or tab with only blanks and tabs before it on its line.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

CLASSES = ("quotes", "brackets", "line-end", "indentation")
NEAR = 10  # characters before a line break
_PARTNERS = {")": "(", "]": "[", "}": "{"}
_PARAGRAPH = re.compile(r"(?:^.*\S.*\n?)+", re.MULTILINE)
_INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)


def class_masks(text: str) -> dict[str, Mask]:
    """Return class -> mask (n,) over the n characters of ``text``: True inside the class."""
    masks = {name: np.zeros(len(text), dtype=np.bool_) for name in CLASSES}
    for paragraph in _PARAGRAPH.finditer(text):
        start, end = paragraph.span()
        _mark_quotes(paragraph.group(), masks["quotes"][start:end])
        _mark_brackets(paragraph.group(), masks["brackets"][start:end])
    for line_break in re.finditer("\n", text):
        end = line_break.start()
        masks["line-end"][max(0, end - NEAR) : end] = True
    for blanks in _INDENTATION.finditer(text):
        masks["indentation"][slice(*blanks.span())] = True
    return masks


def _mark_quotes(paragraph: str, mask: Mask) -> None:
    """Mark the characters from each opening quote up to its closing quote."""
    opening: int | None = None
    for index, character in enumerate(paragraph):
        if character == "“" or (character == '"' and opening is None):
            opening = index
        elif character in '"”' and opening is not None:
            mask[opening:index] = True
            opening = None


def _mark_brackets(paragraph: str, mask: Mask) -> None:
    """Mark the characters from each opening bracket up to its closing bracket."""
    opened: list[tuple[str, int]] = []
    for index, character in enumerate(paragraph):
        if character in _PARTNERS.values():
            opened.append((character, index))
        elif character in _PARTNERS:
            brackets = [bracket for bracket, _ in opened]
            if _PARTNERS[character] not in brackets:
                continue
            while True:
                bracket, start = opened.pop()
                if bracket == _PARTNERS[character]:
                    break
            mask[start:index] = True
