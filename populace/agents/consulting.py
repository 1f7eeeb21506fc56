"""What a part of the world is given to ask the model with as a tick ends."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any

from populace.agents.context import Context
from populace.agents.embedding import Vectors
from populace.core.draws import NamedDraws
from populace.core.errors import BadAsk
from populace.core.records import Abstained, Ask, AskAll


class Consultation:
    """What `async def consult(self, ctx)` of a part is given: the model, and draws of the part's own.

    ```python
    async def consult(self, ctx):
        posts = self.world.feed.posted(ctx.tick)
        asks = [ctx.ask(PROMPT, Verdict, facts={"text": text}, purpose="moderate") for text in posts]
        for verdict in await ctx.ask_all(asks):
            ...
    ```

    `tick` is the tick that ends. What the world asks has the agent -1 in tables and in the journal.
    """

    __slots__ = ("_context", "_seed", "draw", "tick")

    def __init__(self, part: str, seed: int, context: Context) -> None:
        self.tick = context.tick
        self.draw = NamedDraws(seed, tick=context.tick, name=part)
        """The part's draws in this tick: `ctx.draw("lottery").choice(ids)`."""
        self._context = context

    @property
    def parameters(self) -> Any:
        """The society's parameters, as of this tick."""
        return self._context.parameters

    @property
    def time_s(self) -> float:
        """Simulated seconds since the run's beginning, at the start of this tick."""
        return self._context.time_s

    def ask(self, prompt: str | None = None, answer: Any = str, **options: Any) -> Awaitable[Any]:
        """Ask the model: `verdict = await ctx.ask(prompt, Verdict, facts={...}, purpose="moderate")`.

        It takes what an agent's `ctx.ask` takes (`populace.Context.ask`), and gives what that gives: the typed answer,
        or `Abstained`. Raises BadAsk as that does.
        """
        return self._context.ask(prompt, answer, **options)

    def embed(self, texts: Iterable[str], **options: Any) -> Awaitable[Vectors | Abstained]:
        """Embed texts, as an agent's `ctx.embed` does (`populace.Context.embed`); `ask_all` takes these too."""
        return self._context.embed(texts, **options)

    def ask_all(self, asks: Iterable[Awaitable[Any]]) -> Awaitable[list[Any]]:
        """Ask several at once: `verdicts = await ctx.ask_all([ctx.ask(...), ctx.ask(...)])`, answers in their order.

        None of them waits for another but for the model's limits. Raises BadAsk for what `ctx.ask` did not make.
        """
        given = list(asks)
        for one in given:
            if not isinstance(one, Ask):
                raise BadAsk(
                    f"ctx.ask_all: takes what ctx.ask(...) gives, not awaited yet, and was given a {type(one).__name__}"
                )
        return AskAll([one for one in given if isinstance(one, Ask)])
