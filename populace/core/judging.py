"""Judges: rubrics, marks by two judges and what holds where they differ, and how far they agree.

`judge` is awaited by a turn of an agent, `judge_all` by a part's `consult` as well; both put asks of purpose 'judge',
one for each model role of the criterion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.core.fences import FENCE_RULE, fence
from populace.core.records import Abstained

Weights = Literal["none", "linear", "quadratic"]
Settling = Literal["open", "lower", "higher", "third_judge"]
"""What holds where two judges differ: nothing, the lower mark, the higher one, or what a third judge decides."""

PROMPT: Final = 'You are the {judge}. The criterion is "{criterion}". Mark the following with one of {scale}.\n\n{text}'
_NAMES: Final = re.compile(r"(?<!\{)\{([a-z_]+)\}")


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a rubric, with a `scale` of marks, from the lowest to the highest where it is `ordered`.

    With a `rule(facts)`, a pure function that gives one of the marks, the rule judges. Without one the model does: it
    is asked `prompt`, a template, once for each model role in `judges`, under the purpose 'judge'. The template may
    use the facts that are judged by, and {scale}, {criterion} (its name) and {judge} (the role). Facts named in
    `quotes` are text that somebody else wrote: they stand in a fence.

    Where two judges differ, `settle` says what holds. A third judge is the role `third_judge`; its mark and the two
    make the median of an ordered scale, and the majority of another.
    """

    name: str
    scale: tuple[str, ...] = ("poor", "fair", "good")
    prompt: str = ""
    rule: Callable[[Mapping[str, Any]], str] | None = None
    judges: tuple[str, ...] = ("judge", "second_judge")
    ordered: bool = True
    settle: Settling = "open"
    quotes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ScenarioError for a scale of one mark, no judge, and an order where there is none."""
        if len(set(self.scale)) < max(2, len(self.scale)) or (self.rule is None and not 1 <= len(self.judges) <= 2):
            raise ScenarioError(
                f"Criterion('{self.name}'): it needs two different marks or more, and one or two judges"
            )
        if self.settle not in ("open", "lower", "higher", "third_judge"):
            raise ScenarioError(f"Criterion('{self.name}'): settle is open, lower, higher or third_judge")
        if self.settle in ("lower", "higher") and not self.ordered:
            raise ScenarioError(f"Criterion('{self.name}'): a scale without an order has no {self.settle} mark")

    def place(self, given: Any) -> int:
        """A mark's place on the scale. Raises ScenarioError for one that is not on it."""
        if given not in self.scale:
            raise ScenarioError(f"Criterion('{self.name}'): {given!r} is no mark; its scale is {', '.join(self.scale)}")
        return self.scale.index(given)


class Judgement(msgspec.Struct, frozen=True):
    """How a criterion was marked.

    `marks` are the judges', in their order, '' for one who abstained; `abstained` says for each why, '' for a mark.
    `mark` is what holds, '' for nothing. `settled` says by what: 'rule', 'one' (there is one judge), 'agreed', 'lower',
    'higher', 'third_judge', or, where nothing holds, 'open' (they differ) or 'abstained'. `third` is the third judge's.
    """

    criterion: str
    mark: str
    settled: str
    marks: tuple[str, ...]
    abstained: tuple[str, ...] = ()
    third: str = ""


class Agreement(msgspec.Struct):
    """A count of judgements by one criterion's `scale`: how often two judges gave which marks. Plain data.

    It may be a field of an agent or part of a part's state. `counts` has a row for each mark of the first judge and a
    column for each of the second, `abstained` counts by reason, and `settled` by what settled each.
    """

    scale: list[str]
    ordered: bool = True
    counts: list[list[int]] = []
    abstained: dict[str, int] = {}
    settled: dict[str, int] = {}

    def __post_init__(self) -> None:
        self.scale = list(self.scale)
        self.counts = self.counts or [[0] * len(self.scale) for _ in self.scale]

    def add(self, one: Judgement) -> None:
        """Count a judgement. Raises ValueError for a mark that is not on the scale."""
        self.settled[one.settled] = self.settled.get(one.settled, 0) + 1
        for reason in filter(None, one.abstained):
            self.abstained[reason] = self.abstained.get(reason, 0) + 1
        if len(one.marks) == 2 and all(one.marks):
            first, second = (self.scale.index(mark) for mark in one.marks)
            self.counts[first][second] += 1

    def kappa(self, weights: Weights | None = None) -> float:
        """Cohen's kappa, with linear weights on an ordered scale unless told otherwise; NaN of nothing."""
        return cohen_kappa(np.array(self.counts), weights or ("linear" if self.ordered else "none"))

    def share(self) -> float:
        """The share of those that both marked on which they gave the same mark; NaN where there is none."""
        total = sum(map(sum, self.counts))
        return sum(row[at] for at, row in enumerate(self.counts)) / total if total else float("nan")


async def judge(ctx: Any, criterion: Criterion, facts: Mapping[str, Any]) -> Judgement:
    """Have one thing marked by one criterion, with an ask of each of its judges."""
    (found,) = await judge_all(ctx, [(criterion, facts)])
    return found


async def judge_all(
    ctx: Any, work: Iterable[tuple[Criterion, Mapping[str, Any]]], prompt: str = PROMPT
) -> list[Judgement]:
    """Mark several things, in their order; `prompt` is that of criteria without one of their own.

    In a part's `consult` all judges are asked at once, and then third judges. In a turn they are asked one by one.
    Raises BadAsk for facts that do not fit the template, ScenarioError for a rule's mark that is not on the scale.
    """
    given = list(work)
    by_model = [one for one in given if one[0].rule is None]
    asked = iter(await _answers(ctx, [_ask(*one, role, prompt) for one in by_model for role in one[0].judges]))
    marked = [
        _ruled(criterion, facts) if criterion.rule else _of(criterion, [next(asked) for _ in criterion.judges])
        for criterion, facts in given
    ]
    apart = [at for at, one in enumerate(marked) if one.settled == "open" and given[at][0].settle == "third_judge"]
    thirds = await _answers(ctx, [_ask(*given[at], "third_judge", prompt) for at in apart])
    for at, third in zip(apart, thirds, strict=True):
        marked[at] = _decided(given[at][0], marked[at], third)
    return marked


async def _answers(ctx: Any, asks: Sequence[dict[str, Any]]) -> list[Any]:
    if hasattr(ctx, "ask_all"):
        return list(await ctx.ask_all([ctx.ask(**one) for one in asks]) if asks else [])
    return [await ctx.ask(**one) for one in asks]


def _ask(criterion: Criterion, facts: Mapping[str, Any], role: str, prompt: str) -> dict[str, Any]:
    template = criterion.prompt or prompt
    told = {**facts, "scale": list(criterion.scale), "judge": role, "criterion": criterion.name}
    for name in criterion.quotes:
        told[name] = fence(str(told[name]), name)
    named = set(_NAMES.findall(template))
    return {
        "prompt": template,
        "answer": msgspec.defstruct("Mark", [("mark", Literal[criterion.scale])]),
        "facts": {name: value for name, value in told.items() if name in named},
        "purpose": "judge",
        "model_role": role,
        **({"system": FENCE_RULE} if criterion.quotes else {}),
    }


def _ruled(criterion: Criterion, facts: Mapping[str, Any]) -> Judgement:
    assert criterion.rule is not None
    mark = criterion.scale[criterion.place(criterion.rule(facts))]
    return Judgement(criterion.name, mark, "rule", (mark,), ("",))


def _of(criterion: Criterion, answers: Sequence[Any]) -> Judgement:
    """What one or two judges' answers come to, before a third is asked."""
    marks = tuple("" if isinstance(one, Abstained) else str(one.mark) for one in answers)
    reasons = tuple(one.reason if isinstance(one, Abstained) else "" for one in answers)
    if not all(marks):
        return Judgement(criterion.name, "", "abstained", marks, reasons)
    if len(set(marks)) == 1:
        return Judgement(criterion.name, marks[0], "agreed" if len(marks) == 2 else "one", marks, reasons)
    if criterion.settle in ("lower", "higher"):
        places = sorted(map(criterion.place, marks))
        mark = criterion.scale[places[0 if criterion.settle == "lower" else -1]]
        return Judgement(criterion.name, mark, criterion.settle, marks, reasons)
    return Judgement(criterion.name, "", "open", marks, reasons)


def _decided(criterion: Criterion, one: Judgement, answer: Any) -> Judgement:
    """What holds once a third judge has been asked; nothing where it abstained, or no two agree and none is middle."""
    if isinstance(answer, Abstained):
        return msgspec.structs.replace(one, abstained=(*one.abstained, answer.reason))
    third = str(answer.mark)
    if not criterion.ordered and third not in one.marks:
        return msgspec.structs.replace(one, third=third)
    mark = sorted([*one.marks, third], key=criterion.place)[1] if criterion.ordered else third
    return msgspec.structs.replace(one, mark=mark, settled="third_judge", third=third)


def cohen_kappa(table: NDArray[Any], weights: Weights = "none") -> float:
    """Cohen's kappa of two judges from their table of counts, shape (marks, marks); NaN where nothing was judged.

    Weighted by the distance of the marks, or its square (Cohen 1960, doi:10.1177/001316446002000104; 1968,
    doi:10.1037/h0026256). Judges who always give the same single mark agree wholly: 1.
    """
    counts = np.asarray(table, np.float64)
    total = counts.sum()
    if not total > 0:
        return float("nan")
    marks = np.arange(len(counts))
    apart = np.abs(marks[:, None] - marks[None, :]).astype(np.float64)
    loss = {"none": (apart > 0).astype(np.float64), "linear": apart, "quadratic": apart**2}[weights]
    chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total
    expected = float((loss * chance).sum())
    return 1.0 if expected == 0 else 1.0 - float((loss * counts).sum()) / expected
