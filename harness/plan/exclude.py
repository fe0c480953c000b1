"""The excludes of a plan: which combinations they leave out, and which of them match nothing."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.contract import Missing, Trial, UnknownNameError
from harness.contract.wording import split_engine
from harness.plan.request import FASTEST, Combination
from harness.plugins import Plugins, query

Groups = Mapping[str, Sequence[str]]  # group -> its backends
ANY = (None, "", "all")  # variants
FIX = "name values that the plan has, or leave it out"


@dataclass
class _Rule:
    """One exclude.

    Attributes:
        axes: axis -> value, or a list of alternatives.
        matched: the (axis, index of the alternative) that combinations matched.
    """

    axes: Combination
    matched: set[tuple[str, int]] = field(default_factory=set)

    def alternatives(self) -> Iterator[tuple[str, int, Any]]:
        """Yield axis, index in its list, and value."""
        for axis, values in self.axes.items():
            for index, value in enumerate(values if isinstance(values, list) else [values]):
                yield axis, index, value

    def hits(
        self, combination: Combination, groups: Groups, *, loosely: bool = False
    ) -> set[tuple[str, int]]:
        """Return the alternatives that match ``combination``, or none unless every axis matches."""
        hits = {
            (axis, index)
            for axis, index, value in self.alternatives()
            if axis in combination
            and _same(axis, combination[axis], value, groups, loosely=loosely)
        }
        return hits if {axis for axis, _ in hits} == set(self.axes) else set()

    def __str__(self) -> str:
        return ", ".join(f"{axis} = {value!r}" for axis, value in self.axes.items())


class Excludes:
    """The excludes of a plan."""

    def __init__(self, rules: Iterable[Combination], plugins: Plugins) -> None:
        self._rules = [_Rule(rule) for rule in rules]
        self._plugins = plugins

    def cover(self, combination: Combination) -> bool:
        """Return whether a rule leaves out this combination."""
        return any(rule.hits(combination, self._plugins.groups) for rule in self._rules)

    def without(self, combination: Combination, trials: Iterable[Trial]) -> Iterator[Trial]:
        """Yield the trials of a combination that no rule leaves out."""
        for trial in trials:
            if not self.cover(combination | {"backend": trial.engine}):
                yield trial

    def idle(self, combinations: Iterable[Combination], overridden: Collection[str]) -> list[str]:
        """Return a problem for each rule, or alternative of a rule, that excludes nothing.

        If a combination names no variant, its variant may depend on the machine, so a rule may name
        any variant of the backend. A rule on an ``overridden`` axis may exclude nothing, because it
        was written for the plan's own values.
        """
        rules = [rule for rule in self._rules if not set(rule.axes) & set(overridden)]
        for combination, rule in itertools.product(combinations, rules):
            rule.matched |= rule.hits(combination, self._plugins.groups, loosely=True)
        return [problem for rule in rules for problem in self._problems(rule)]

    def _problems(self, rule: _Rule) -> Iterator[str]:
        if not rule.matched:
            why = "no combination of the plan matches it"
            yield f"exclude {rule} would exclude nothing: {why}; {FIX}"
            return
        for axis, index, value in rule.alternatives():
            if (axis, index) not in rule.matched:
                yield f"exclude {rule}: {axis} = {value!r} would exclude nothing; {FIX}"
            elif axis == "backend":
                yield from self._unknown_variant(str(value))

    def _unknown_variant(self, engine: str) -> Iterator[str]:
        name, variant = split_engine(engine)
        variants: dict[str, None] = {}
        for member in self._plugins.groups.get(name, (name,)):
            backend = self._plugins.backends.get(member)
            if backend is None or isinstance(query.available_or_missing(backend), Missing):
                return
            for cell in self._plugins.cells.values():
                variants.update(dict.fromkeys(query.variants(backend, cell)))
            variants.update(dict.fromkeys(query.missing_variants(backend)))
        if variant == FASTEST and FASTEST not in variants:
            fix = f"{FASTEST} chooses one of the variants; name that, or {name!r} alone"
            yield f"exclude backend = {engine!r}: {fix}"
        elif variant is not None and (not variant or variant not in {*ANY, *variants}):
            kind = f"variant of backend {name!r}:"
            yield str(UnknownNameError(kind, variant, variants, "harness list backends"))


def _same(axis: str, asked: Any, value: Any, groups: Groups, *, loosely: bool) -> bool:
    """Return whether ``value`` covers ``asked``: a group its members, a backend its variants."""
    if axis != "backend":
        return bool(asked == value)
    name, variant = split_engine(str(asked))
    excluded, excluded_variant = split_engine(str(value))
    names = groups.get(name, (name,)) if loosely else (name,)
    if set(names).isdisjoint(groups.get(excluded, (excluded,))):
        return False
    any_variant = excluded_variant in ANY or (loosely and variant in {*ANY, FASTEST})
    return any_variant or excluded_variant == variant
