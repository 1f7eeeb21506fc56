"""A society changed for a test: its script left out, its agents' ids dealt anew."""

from __future__ import annotations

import json
from collections.abc import Callable, MutableMapping
from dataclasses import replace
from typing import Any, Final, Literal

from populace.agents.answers import compile_answer
from populace.agents.population import Population
from populace.agents.society import Setup, Society
from populace.core.draws import Stream
from populace.data.societies import Origin
from populace.models.scripted.gateway import answer_writer

Variant = Literal["as_is", "without_script", "relabelled"]


def placebo(answer: Any, seed: int = 0, nth: int = 0) -> Any:
    """An answer of this type (a Struct, a pydantic model, `Choice(...)`, `str`) as the placebo model gives it.

    It is drawn by lot to fit the type, blind to what was asked: the same for the same type, `seed` and `nth`. Raises
    BadAsk for what is no type of an answer, and ValueError for one that cannot be drawn.

    >>> isinstance(placebo(str), str)
    True
    """
    spec = compile_answer(answer)
    return spec.read(answer_writer(spec)(Stream(seed, 0, 0, f"placebo:{nth}")))


def without_script(society: Society) -> Society:
    """The society on the placebo: without its `scripted`, so that the scripted model draws answers of the right types.

    A claim that holds of it says nothing about models.
    """
    return replace(society, scripted=None)


def relabelled(society: Society) -> Society:
    """The society with its agents' ids dealt anew: row `i` of its population goes to an agent drawn by the seed.

    All rows stay, and the world is made of the population as it is dealt. Columns must not hold ids of agents.
    """
    return replace(society, population=_Dealt(society.population))


class _Dealt:
    """A population whose rows are dealt to ids by lot, those of each type among themselves."""

    def __init__(self, population: Callable[[Setup], Any]) -> None:
        self._population = population

    def __call__(self, setup: Setup) -> Any:
        people = self._population(setup)
        if isinstance(people, Population):
            return _dealt(people, setup.draw("populace.testing: ids"))
        return {of: _dealt(one, setup.draw(f"populace.testing: ids of {of}")) for of, one in people.items()}


def _dealt(people: Population, draw: Stream) -> Population:
    order = list(range(len(people)))
    draw.shuffle(order)
    return people.rows(order)


_VARIANTS: Final[dict[str, Callable[[Society], Society]]] = {
    "without_script": without_script,
    "relabelled": relabelled,
}


def varied(origin: Origin, variant: Variant) -> Origin:
    """A society's text with a line at its end that changes it; `as_is` leaves its society as it is.

    Of a module too it is another text than the module's own, so that every load runs it anew.
    """
    if origin.source is None:
        return origin
    call = f"__import__('populace.testing.variants').testing.variants.apply(globals(), {json.dumps(variant)})"
    return replace(origin, source=f"{origin.source}\n\n{call}\n")


def apply(module: MutableMapping[str, Any], variant: Variant) -> None:
    """Change every society that a module holds."""
    change = _VARIANTS.get(variant)
    if change is None:
        return
    made: dict[int, Society] = {}
    for name, value in list(module.items()):
        if isinstance(value, Society):
            module[name] = made.setdefault(id(value), change(value))
