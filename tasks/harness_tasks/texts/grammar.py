"""The corpus ``grammar``: a probabilistic grammar of indented code, with its exact entropy rate.

A pushdown generator of bounded depth (brackets, quotes, indentation) is a finite Markov chain over
states. Each state offers tokens, and no token is a prefix of another. So the characters determine
the next state (the chain is unifilar), and the entropy of a token is the sum of the entropies of
its characters. With the stationary distribution pi::

    entropy rate per character = sum_s pi_s H_s / sum_s pi_s E[characters of a token in s]
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DEEPEST_INDENT = 3
DEEPEST_BRACKET = 3
CLOSING = {"(": ")", "[": "]"}
# fmt: off
NAMES = (
    "alpha", "beta", "count", "delta", "gate", "hidden",
    "loss", "norm", "output", "state", "token", "weight",
)
WORDS = (
    "a cell", "deep", "forgets", "gradient", "keeps",
    "learns", "memory", "the input", "vanishes", "yesterday",
)
# fmt: on


class State(NamedTuple):
    """The state of the generator: everything that determines which tokens may follow.

    Attributes:
        phase: ``line``, ``operand``, ``number`` or ``operator``. Inside quotes: the quote (a word
            follows), or the quote and a space (a word is complete).
        indent: of this statement; in phase ``line``, the largest indent of the next statement.
        statement: ``plain``, ``header`` (opens a block) or ``return`` (closes a block); in phase
            ``line``, that of the previous statement.
        brackets: the open brackets.
    """

    phase: str
    indent: int = 0
    statement: str = ""
    brackets: str = ""


class Choice(NamedTuple):
    """One possible next token, its probability, and the state after it."""

    token: str
    probability: float
    state: State


START = State("line", statement="plain")


def choices(state: State) -> list[Choice]:
    """Return the possible next tokens. Probabilities sum to 1; no token is a prefix of another."""
    if state.phase == "line":
        return _line(state)
    if state.phase == "operand":
        return _operand(state)
    if state.phase[0] in "\"'":
        return _quoted(state)
    return _continuation(state)


def _names(probability: float) -> list[tuple[str, float]]:
    """Return the names with probabilities that fall as 1/rank (Zipf)."""
    total = sum(1 / rank for rank in range(1, len(NAMES) + 1))
    return [(name, probability / rank / total) for rank, name in enumerate(NAMES, start=1)]


def _line(state: State) -> list[Choice]:
    """Begin a line: indent, then a name, a keyword or ``return``; after a header, indent more."""
    shallowest = state.indent if state.statement == "header" else 0
    weights = {
        indent: 3.0 ** (indent - state.indent) for indent in range(shallowest, state.indent + 1)
    }
    total = sum(weights.values())
    offered = []
    for indent, weight in weights.items():
        for word, p, statement in _openings(indent):
            after = State("operand", indent, statement)
            offered.append(Choice("  " * indent + word, p * weight / total, after))
    return offered


def _openings(indent: int) -> list[tuple[str, float, str]]:
    headers = [("if ", 0.2, "header"), ("while ", 0.1, "header")] if indent < DEEPEST_INDENT else []
    returns = [("return ", 0.2, "return")] if indent else []
    rest = 1 - sum(p for _, p, _ in headers + returns)
    return [*headers, *returns, *((f"{name} = ", p, "plain") for name, p in _names(rest))]


def _operand(state: State) -> list[Choice]:
    deeper = 0.12 if len(state.brackets) < DEEPEST_BRACKET else 0.0
    opened = [
        Choice(bracket, deeper, state._replace(brackets=state.brackets + bracket))
        for bracket in CLOSING
        if deeper
    ]
    quoted = [Choice(quote, 0.08, state._replace(phase=quote)) for quote in "\"'"]
    digits = [Choice(digit, 0.02, state._replace(phase="number")) for digit in "0123456789"]
    rest = 1 - sum(choice.probability for choice in opened + quoted + digits)
    after = state._replace(phase="operator")
    return [*opened, *quoted, *digits, *(Choice(name, p, after) for name, p in _names(rest))]


def _quoted(state: State) -> list[Choice]:
    """Inside quotes: words of equal probability, each followed by a space or the closing quote."""
    quote = state.phase[0]
    if state.phase == quote:
        return [Choice(word, 1 / len(WORDS), state._replace(phase=f"{quote} ")) for word in WORDS]
    return [
        Choice(" ", 0.4, state._replace(phase=quote)),
        Choice(quote, 0.6, state._replace(phase="operator")),
    ]


def _continuation(state: State) -> list[Choice]:
    """After an operand: a further digit, an operator, or the end of a bracket or statement."""
    digits = [
        Choice(digit, 0.04, state._replace(phase="number"))
        for digit in "0123456789"
        if state.phase == "number"
    ]
    scale = 1 - sum(choice.probability for choice in digits)
    after = state._replace(phase="operand")
    operators = [Choice(" + ", 0.25 * scale, after), Choice(" * ", 0.15 * scale, after)]
    if not state.brackets:
        return [*digits, *operators, Choice(*_end(state, 0.6 * scale))]
    closed = state._replace(phase="operator", brackets=state.brackets[:-1])
    closing = Choice(CLOSING[state.brackets[-1]], 0.4 * scale, closed)
    return [*digits, *operators, Choice(", ", 0.2 * scale, after), closing]


def _end(state: State, probability: float) -> Choice:
    if state.statement == "header":
        return Choice(":\n", probability, State("line", state.indent + 1, "header"))
    deepest = state.indent - 1 if state.statement == "return" else state.indent
    return Choice("\n", probability, State("line", deepest, "plain"))


@dataclass(frozen=True, eq=False)
class MarkovChain:
    """All reachable states with the tokens that each offers."""

    offers: dict[State, list[Choice]]

    def transition_matrix(self) -> NDArray[np.float64]:
        """Return P (S, S), the transition probabilities from token to token."""
        index = {state: number for number, state in enumerate(self.offers)}
        P = np.zeros((len(index), len(index)))
        for state, offered in self.offers.items():
            for choice in offered:
                P[index[state], index[choice.state]] += choice.probability
        return P

    def entropies(self) -> NDArray[np.float64]:
        """Return H_s (S,), the entropy of the next token in nats."""
        return np.array([_entropy(row) for row in self.offers.values()])

    def characters(self) -> NDArray[np.float64]:
        """Return the expected length (S,) of the next token."""
        return np.array(
            [sum(c.probability * len(c.token) for c in row) for row in self.offers.values()]
        )


def _entropy(row: list[Choice]) -> float:
    return -sum(choice.probability * float(np.log(choice.probability)) for choice in row)


@cache
def chain() -> MarkovChain:
    """Return the Markov chain, built once."""
    offers: dict[State, list[Choice]] = {}
    ahead = [START]
    while ahead:
        state = ahead.pop()
        if state not in offers:
            offers[state] = choices(state)
            ahead.extend(choice.state for choice in offers[state])
    return MarkovChain(offers)


@cache
def entropy_rate() -> float:
    """Return the exact entropy rate in nats per character."""
    P = chain().transition_matrix()
    equations = P.T - np.eye(len(P))
    equations[-1] = 1.0  # replaces a redundant balance equation: the distribution sums to 1
    stationary = np.linalg.solve(equations, np.eye(len(P))[-1])
    return float(stationary @ chain().entropies() / (stationary @ chain().characters()))


def generate(rng: np.random.Generator, characters: int) -> str:
    """Return the first ``characters`` characters of a random text."""
    offers = chain().offers
    cumulative = {
        state: list(accumulate(c.probability for c in row)) for state, row in offers.items()
    }
    tokens: list[str] = []
    state, written = START, 0
    while written < characters:
        for draw in rng.random(1024).tolist():
            row = offers[state]
            choice = row[min(bisect(cumulative[state], draw), len(row) - 1)]
            tokens.append(choice.token)
            written += len(choice.token)
            state = choice.state
    return "".join(tokens)[:characters]
