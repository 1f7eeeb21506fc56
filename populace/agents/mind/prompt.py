"""Prompts that keep to a budget of tokens, and say what they left out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from populace.core.fences import FENCE_RULE, fence

Count = Callable[[str], int]
"""How many tokens a text takes."""


def estimate_tokens(text: str) -> int:
    """Tokens of a text, estimated: a token for every four characters, and one for what is left.

    That is near the truth for English and tokenizers of today, too low by half or more for Chinese, and no
    promise: where a limit is hard, give a tokenizer's own count in its place.
    """
    return (len(text) + 3) // 4


class Dropped(NamedTuple):
    """What a section lost: how many of its items, and the tokens of these. `all` says that nothing of it is left."""

    section: str
    items: int
    tokens: int
    all: bool


class Built(NamedTuple):
    """A prompt: its text, what `count` says of it, and what was left out, in the order in which it was."""

    text: str
    tokens: int
    dropped: list[Dropped]

    @property
    def note(self) -> str:
        """What was left out, in words; empty where nothing was."""
        return "; ".join(
            f"{one.section}: {'all' if one.all else 'some'} left out ({one.items} items, {one.tokens} tokens)"
            for one in self.dropped
        )


class _Section(NamedTuple):
    name: str
    items: list[str]
    priority: float | None
    lead: str = ""
    """What stands before the items, as long as one of them does."""


class Prompt:
    r"""Sections of text in the order in which they are added, the less important left out where the budget ends.

    ```python
    prompt = Prompt(budget_tokens=60)
    prompt.add("You", "You are a nurse in Delft.")
    prompt.add("What you remember", ["The tram was late.", "Ada is fond of chess."], priority=1)
    built = prompt.build()
    assert built.tokens <= 60 and not built.dropped
    ```

    The lowest priority goes first; of equals the section that was added last. A section's items go from its end, one by
    one, so put the best first. A section with no priority is never cut. Nothing is drawn: the same sections give the
    same text.
    """

    def __init__(self, budget_tokens: int, *, count: Count = estimate_tokens, titles: bool = True) -> None:
        """`count` says how many tokens a text takes; with `titles` unset the sections' names are not in the text."""
        if budget_tokens < 1:
            raise ValueError(f"Prompt: budget_tokens={budget_tokens} has to be at least 1")
        self._budget = budget_tokens
        self._count = count
        self._titles = titles
        self._sections: list[_Section] = []

    def add(self, section: str, text: str | Iterable[str], priority: float | None = None) -> Prompt:
        """Add a section: a text, or items of which each stands on a line. Gives the prompt back.

        Raises ValueError for a section that there is already.
        """
        if any(one.name == section for one in self._sections):
            raise ValueError(f"Prompt.add: there is a section {section!r} already: give its items in one call")
        items = [text] if isinstance(text, str) else list(text)
        self._sections.append(_Section(section, [one for one in items if one], priority))
        return self

    def quote(self, section: str, said: Iterable[tuple[str, str]], priority: float | None = None) -> Prompt:
        """Add a section of what others wrote, (who, text) each, as data; gives the prompt back.

        Each text stands in a fence that it can't close, disarmed (`populace.fence`), and the rule of fences stands
        before them. Items go from the end, as those of `add` do, and never in part. Raises ValueError as `add` does.
        """
        self.add(section, [fence(text, who) for who, text in said], priority)
        self._sections[-1] = self._sections[-1]._replace(lead=f"{FENCE_RULE}\n")
        return self

    def build(self) -> Built:
        """The prompt. Raises ValueError, naming them, where the sections with no priority alone exceed the budget."""
        kept = [len(one.items) for one in self._sections]
        lost = [0] * len(kept)
        sizes = [[self._count(f"{item}\n") for item in one.items] for one in self._sections]
        heads = [
            (self._count(f"{one.name}:\n\n") if self._titles else 1) + (self._count(one.lead) if one.lead else 0)
            for one in self._sections
        ]
        total = sum(map(sum, sizes)) + sum(head for head, many in zip(heads, kept, strict=True) if many)
        may_go = [at for at, one in enumerate(self._sections) if one.priority is not None]
        may_go.sort(key=lambda at: (self._sections[at].priority, -at))
        gone = iter([at for at in may_go for _ in range(kept[at])])
        while True:
            if total <= self._budget:
                text = self._text(kept)
                tokens = self._count(text)
                if tokens <= self._budget:
                    break
            at = next(gone, None)
            if at is None:
                fixed = ", ".join(repr(one.name) for one in self._sections if one.priority is None)
                raise ValueError(
                    f"Prompt: the sections with no priority ({fixed}) take {total} tokens and the budget is "
                    f"{self._budget}: give some a priority, shorten them, or raise budget_tokens"
                )
            kept[at] -= 1
            lost[at] += sizes[at][kept[at]]
            total -= sizes[at][kept[at]] + (0 if kept[at] else heads[at])
        dropped = [
            Dropped(self._sections[at].name, len(self._sections[at].items) - kept[at], lost[at], not kept[at])
            for at in may_go
            if kept[at] < len(self._sections[at].items)
        ]
        return Built(text, tokens, dropped)

    def _text(self, kept: list[int]) -> str:
        parts = []
        for section, many in zip(self._sections, kept, strict=True):
            if many:
                body = section.lead + "\n".join(section.items[:many])
                parts.append(f"{section.name}:\n{body}" if self._titles else body)
        return "\n\n".join(parts)
