"""Makes a society another one that differs in what no author meant to matter. Called by what `source_of` writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from populace.agents.agent import Agent
from populace.agents.answers import Choice
from populace.agents.columnar import ColumnarAgent
from populace.agents.context import Context
from populace.agents.population import Population
from populace.agents.society import Setup, Society
from populace.core.draws import Draws
from populace.core.errors import ScenarioError
from populace.data.societies import Origin, load_society, parted
from populace.env import Network, World
from populace.experiments.audits.declared import Perturbation


def origin_with(origin: Origin, what: Perturbation) -> Origin:
    """The origin of a perturbed society: the text of the original, and at its end what makes it another.

    Raises ScenarioError for a society whose text is not to be had.
    """
    if origin.source is None:
        raise ScenarioError(f"{origin.name}: there is no text of it, so it cannot be perturbed.")
    plain = msgspec.json.encode(what).decode()
    call = f"_perturb(globals(), {parted(origin.name)[1]!r}, {plain!r})"
    added = f"\n\nfrom {__name__} import perturb as _perturb  # added by an audit\n\n{call}\n"
    return Origin(origin.name, origin.source.rstrip("\n") + added)


def perturb(space: dict[str, Any], variable: str, plain: str) -> None:
    """Put the perturbed society in the place of the one that a module's variables hold."""
    what = msgspec.json.decode(plain, type=Perturbation)
    held = {name: one for name, one in space.items() if isinstance(one, Society) and variable in ("", name)}
    made: dict[int, Society] = {}
    for name, one in held.items():
        if id(one) not in made:
            made[id(one)] = perturbed(one, what)
        space[name] = made[id(one)]


def perturbed(society: Society, what: Perturbation) -> Society:
    """The society with the perturbation. Raises ScenarioError for a column that its population has not."""
    found = society
    if what.options or what.messages or what.reword:
        own = _context(what)
        if found.types:
            found = replace(found, types={name: _agent(kind, own, what) for name, kind in found.types.items()})
        elif found.agent is not None:
            found = replace(found, agent=_agent(found.agent, own, what))
    if what.shuffle or what.personas:
        found = replace(found, population=_population(society.population, what))
    if what.rewire:
        found = replace(found, world=_world(society.world, what.rewire))
    return found


def affects(origin: Origin, what: Perturbation) -> str:
    """Why a perturbation cannot touch a society; '' where it may. Agents in columns and parts are left alone."""
    classes = load_society(origin).classes.values()
    if (what.options or what.messages or what.reword) and all(issubclass(one, ColumnarAgent) for one in classes):
        return "all its agents act in columns, and the asks of these are left as they are"
    return ""


def _agent(kind: type[Agent], context: type[Context], what: Perturbation) -> type[Agent]:
    """The class of agents whose turns are given the perturbed context."""
    if issubclass(kind, ColumnarAgent):
        return kind

    async def turn(self: Agent, ctx: Context) -> None:
        """The turn of the original."""
        ctx = context(*(getattr(ctx, name) for name in ctx.__struct_fields__))
        if what.messages and len(ctx.inbox) > 1:
            order = list(ctx.inbox)
            ctx.draw("audit.messages").shuffle(order)
            ctx.inbox = order
        await kind.turn(self, ctx)

    meta: Any = type(kind)
    made: type[Agent] = meta(
        kind.__name__, (kind,), {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "turn": turn}
    )
    return made


def _context(what: Perturbation) -> type[Context]:
    class Perturbed(Context, eq=False):
        """A turn's context whose asks are put otherwise; the prompt is changed before facts are filled in."""

        def ask(self, prompt: str | None = None, answer: Any = str, **options: Any) -> Any:
            said: Callable[[str], str] = _worded(what.reword)
            if what.options and isinstance(answer, Choice):
                labels = list(answer.labels)
                self.draw(f"audit.options.{self._made}").shuffle(labels)
                old, answer = answer.labels, Choice(*labels)
                reworded = said

                def said(text: str) -> str:
                    return reordered(reworded(text), old, labels)

            if isinstance(prompt, str):
                prompt = said(prompt)
            if isinstance(options.get("system"), str):
                options["system"] = said(options["system"])
            if options.get("messages") is not None:
                options["messages"] = [_message(one, said) for one in options["messages"]]
            return super().ask(prompt, answer, **options)

    return Perturbed


def _worded(pieces: Mapping[str, str]) -> Callable[[str], str]:
    def said(text: str) -> str:
        for old, new in pieces.items():
            text = text.replace(old, new)
        return text

    return said


def _message(one: Any, said: Callable[[str], str]) -> Any:
    if isinstance(one, Mapping) and isinstance(one.get("content"), str):
        return {**one, "content": said(one["content"])}
    if isinstance(one, list | tuple) and len(one) == 2 and isinstance(one[1], str):
        return (one[0], said(one[1]))
    return one


def reordered(text: str, old: Sequence[str], new: Sequence[str]) -> str:
    """The text with its labels in another order, where each of them stands in it once, as words; else as it is.

    >>> reordered("Reply with agree or disagree.", ("agree", "disagree"), ("disagree", "agree"))
    'Reply with disagree or agree.'
    """
    spots = []
    for label in old:
        found = list(re.finditer(rf"(?<!\w){re.escape(label)}(?!\w)", text))
        if len(found) != 1:
            return text
        spots.append(found[0].span())
    parts, at = [], 0
    for (start, stop), label in zip(sorted(spots), _placed(spots, old, new), strict=True):
        parts += [text[at:start], label]
        at = stop
    return "".join([*parts, text[at:]])


def _placed(spots: Sequence[tuple[int, int]], old: Sequence[str], new: Sequence[str]) -> list[str]:
    """The labels as they come in the text: that which stood i-th among `old` gives its place to the i-th of `new`."""
    instead = dict(zip(old, new, strict=True))
    order = sorted(range(len(spots)), key=spots.__getitem__)
    return [instead[old[at]] for at in order]


def _population(make: Callable[[Setup], Any], what: Perturbation) -> Callable[[Setup], Any]:
    def population(setup: Setup) -> Any:
        made = make(setup)
        if isinstance(made, Mapping):
            there = {name for people in made.values() for name in people.columns}
            _check(what.shuffle, there)
            return {name: _dealt(setup.draw, people, what, name) for name, people in made.items()}
        _check(what.shuffle, made.columns)
        return _dealt(setup.draw, made, what)

    return population


def _check(names: Sequence[str], there: Any) -> None:
    if missing := [name for name in names if name not in there]:
        raise ScenarioError(f"shuffle={missing}: the population has no such column; it has {', '.join(there)}")


def _dealt(draw: Draws, people: Population, what: Perturbation, of: str = "") -> Population:
    """The people with columns dealt anew, all by one permutation, so that a persona stays whole; and texts reworded."""
    order = list(range(people.size))
    draw(f"audit.shuffle{of}").shuffle(order)
    said, columns = _worded(what.personas), dict(people.columns)
    for name, column in columns.items():
        if name in what.shuffle:
            columns[name] = [column[at] for at in order]
        if what.personas:
            columns[name] = [said(one) if isinstance(one, str) else one for one in columns[name]]
    return Population(columns, extra=people.extra)


def _world(make: Callable[[Setup, Any], World], share: float) -> Callable[[Setup, Any], World]:
    def world(setup: Setup, people: Any) -> World:
        made = make(setup, people)
        for part in made.parts.values():
            if isinstance(part, Network):
                if part._size is None:  # noqa: SLF001  # it takes its edges when it is opened
                    part._size, part._out = setup.agents, Network(*part._given, size=setup.agents).out  # noqa: SLF001
                out = part.out
                source, target = swapped(out.sources(), out.targets, share, setup.draw)
                part._out = Network(source, target, out.weights, size=out.size).out  # noqa: SLF001
        return made

    return world


def swapped(source: Any, target: Any, share: float, draw: Draws) -> tuple[Any, Any]:
    """Edges (two int arrays) after swaps of two ties' ends, tried for such a share of the ties; degrees stay.

    Two ties swap their ends (Maslov and Sneppen 2002), where that makes no loop and no tie twice; mutual ones stay so.
    """
    edges = set(zip(np.asarray(source).tolist(), np.asarray(target).tolist(), strict=True))
    mutual = all((b, a) in edges for a, b in edges)
    ties = sorted(edge for edge in edges if not mutual or edge[0] < edge[1])
    lot = draw("audit.rewire")
    for _ in range(round(share * len(ties))):
        i, j = lot.integer(len(ties)), lot.integer(len(ties))
        (a, b), (c, d) = ties[i], ties[j]
        if mutual and lot.bernoulli(0.5):
            c, d = d, c
        if len({a, b, c, d}) < 4 or (a, d) in edges or (c, b) in edges:
            continue
        for gone, new in (((a, b), (a, d)), ((c, d), (c, b))):
            edges.remove(gone)
            edges.add(new)
            if mutual:
                edges.remove(gone[::-1])
                edges.add(new[::-1])
        ties[i], ties[j] = (a, d), (c, b)
    made = np.array(sorted(edges), np.int64).reshape(-1, 2)
    return made[:, 0], made[:, 1]
