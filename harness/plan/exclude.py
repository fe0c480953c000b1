"""The excludes of a plan: which combinations they leave out, and that each of them does leave something out."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.contract import Missing, UnknownNameError
from harness.plan.request import FASTEST, Combination
from harness.plugins import Plugins, query

Groups = Mapping[str, Sequence[str]]  # group -> its backends
ANY = ("", "all")  # variants
FIX = "name values that the plan has, or leave it out"


@dataclass
class _Rule:
    """One exclude: axis -> value, or a list of alternatives; ``matched`` holds those (axis, place) that were met."""

    given: Combination
    matched: set[tuple[str, int]] = field(default_factory=set)

    def alternatives(self) -> Iterator[tuple[str, int, Any]]:
        """Yield axis, place in its list, and value."""
        for axis, value in self.given.items():
            for place, one in enumerate(value if isinstance(value, list) else [value]):
                yield axis, place, one

    def hits(
        self, combination: Combination, groups: Groups, *, loosely: bool = False
    ) -> set[tuple[str, int]]:
        """Return the alternatives that ``combination`` matches; none where it lacks one for any axis of the rule."""
        hits = {
            (axis, place)
            for axis, place, value in self.alternatives()
            if axis in combination
            and _same(axis, combination[axis], value, groups, loosely=loosely)
        }
        return hits if {axis for axis, _ in hits} == set(self.given) else set()

    def __str__(self) -> str:
        return ", ".join(f"{axis} = {value!r}" for axis, value in self.given.items())


class Excludes:
    """The excludes of a plan."""

    def __init__(self, rules: Iterable[Combination], plugins: Plugins) -> None:
        self._rules = [_Rule(rule) for rule in rules]
        self._plugins = plugins

    def cover(self, combination: Combination) -> bool:
        """Say whether any rule leaves this out; its backend is with a variant once that is known."""
        return any(rule.hits(combination, self._plugins.groups) for rule in self._rules)

    def idle(self, combinations: Iterable[Combination], overridden: Collection[str]) -> list[str]:
        """Return a problem for each rule, or alternative of one, that would leave out none of ``combinations``.

        Which variant a combination takes that names none may depend on the machine: a rule may then
        name any variant that the backend knows. A rule on an axis that is ``overridden`` may idle:
        it is about the plan as written.
        """
        rules = [rule for rule in self._rules if not set(rule.given) & set(overridden)]
        for combination, rule in itertools.product(combinations, rules):
            rule.matched |= rule.hits(combination, self._plugins.groups, loosely=True)
        return [problem for rule in rules for problem in self._problems(rule)]

    def _problems(self, rule: _Rule) -> Iterator[str]:
        if not rule.matched:
            yield f"exclude {rule} would exclude nothing: no combination of the plan matches it; {FIX}"
            return
        for axis, place, value in rule.alternatives():
            if (axis, place) not in rule.matched:
                yield f"exclude {rule}: {axis} = {value!r} would exclude nothing; {FIX}"
            elif axis == "backend":
                yield from self._unknown_variant(str(value))

    def _unknown_variant(self, engine: str) -> Iterator[str]:
        name, colon, variant = engine.partition(":")
        known: dict[str, None] = {}
        backends = [
            self._plugins.backends.get(one) for one in self._plugins.groups.get(name, (name,))
        ]
        for backend in backends:
            if backend is None or isinstance(query.available_or_missing(backend), Missing):
                return
            for cell in self._plugins.cells.values():
                known.update(dict.fromkeys(query.variants(backend, cell)))
            known.update(dict.fromkeys(query.missing_variants(backend)))
        if variant == FASTEST and FASTEST not in known:
            what = f"{FASTEST} stands for one of the variants; name that, or {name!r} alone"
            yield f"exclude backend = {engine!r}: {what}"
        elif (colon and not variant) or variant not in {*ANY, *known}:
            yield str(
                UnknownNameError(
                    f"variant of backend {name!r}:", variant, known, "harness list backends"
                )
            )


def _same(axis: str, asked: Any, value: Any, groups: Groups, *, loosely: bool) -> bool:
    return (
        _same_engine(str(asked), str(value), groups, loosely=loosely)
        if axis == "backend"
        else bool(asked == value)
    )


def _same_engine(asked: str, value: str, groups: Groups, *, loosely: bool) -> bool:
    """Say whether ``value`` means ``asked``: a group its members, a backend without a variant each of its variants."""
    (name, _, variant), (wanted, _, wanted_variant) = asked.partition(":"), value.partition(":")
    names = set(groups.get(name, (name,))) if loosely else {name}
    any_variant = wanted_variant in ANY or (loosely and variant in {*ANY, FASTEST})
    return bool(names & set(groups.get(wanted, (wanted,)))) and (
        any_variant or wanted_variant == variant
    )
