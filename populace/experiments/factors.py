"""Arms of several factors at once, and of several doses. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from populace.core.errors import ScenarioError
from populace.experiments.declared import Arm


def factorial(factors: Mapping[str, Mapping[str, Arm]], fraction: Sequence[str] = ()) -> dict[str, Arm]:
    """Every combination of the levels of some factors as an arm: `factorial({"news": {"off": Arm(), "on": Arm(...)}})`.

    An arm is named by its levels, 'news=on, ties=off', and does what each of them does. With a `fraction`, of factors
    with two levels each, only those combinations stay in which each generator holds: 'd=a*b*c' says that the level of d
    is the product of those of a, b and c, the first level of each counted as -1 and the second as 1. One generator
    leaves a half, two a quarter (Box, Hunter and Hunter 2005, Statistics for Experimenters, chapter 6): what is
    confounded with what follows from them.

    Raises ScenarioError for levels that set one thing differently, and for a generator of other factors.
    """
    words = [_generator(text, factors) for text in fraction]
    arms: dict[str, Arm] = {}
    for levels in itertools.product(*(tuple(of.items()) for of in factors.values())):
        signs = {name: _sign(factors[name], level) for name, (level, _) in zip(factors, levels, strict=True)}
        if any(signs[made] != _product(signs, of) for made, of in words):
            continue
        named = {name: level for name, (level, _) in zip(factors, levels, strict=True)}
        title = ", ".join(f"{name}={level}" for name, level in named.items())
        arms[title] = joined(title, [arm for _, arm in levels], named)
    return arms


def doses(name: str, levels: Sequence[Any], arm: Callable[[Any], Arm]) -> dict[str, Arm]:
    """An arm for each dose: `doses("transfer", [0, 500, 1000], lambda usd: Arm(...))`, named 'transfer=500'."""
    made = {f"{name}={level}": (level, arm(level)) for level in levels}
    return {title: replace(one, factors={**one.factors, name: level}) for title, (level, one) in made.items()}


def joined(title: str, arms: Sequence[Arm], factors: Mapping[str, Any]) -> Arm:
    """One arm that does what several do. Raises ScenarioError where two set one thing differently."""
    levers = tuple(lever for arm in arms for lever in arm.levers)
    parameters, settings, own = dict[str, Any](), dict[str, Any](), dict[str, Any]()
    for arm in arms:
        for into, given in (
            (parameters, arm.parameters),
            (settings, arm.settings),
            (own, {name: value for name in ("model", "society") if (value := getattr(arm, name)) is not None}),
        ):
            for key, value in given.items():
                if key in into and into[key] != value:
                    raise ScenarioError(f"arm {title!r}: two of its levels set {key!r}, to {into[key]!r} and {value!r}")
                into[key] = value
    about = "; ".join(arm.about for arm in arms if arm.about)
    return Arm(levers=levers, parameters=parameters, settings=settings, about=about, factors=dict(factors), **own)


def _generator(text: str, factors: Mapping[str, Mapping[str, Arm]]) -> tuple[str, list[str]]:
    made, _, product = (part.strip() for part in text.partition("="))
    of = [name.strip() for name in product.split("*")]
    for name in (made, *of):
        if name not in factors or len(factors[name]) != 2:
            raise ScenarioError(
                f"fraction {text!r}: {name!r} is no factor of two levels; write 'd=a*b*c' of {', '.join(factors)}"
            )
    return made, of


def _sign(levels: Mapping[str, Arm], level: str) -> int:
    return 1 if list(levels).index(level) else -1


def _product(signs: Mapping[str, int], of: Sequence[str]) -> int:
    product = 1
    for name in of:
        product *= signs[name]
    return product
