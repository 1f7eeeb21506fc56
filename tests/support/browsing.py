"""The page's server as it is when it is slow: answers held back in a browser, and given in whichever order."""

from __future__ import annotations

from typing import Any

PATIENCE_MS = 240_000
"""How long tests of a tab wait for what comes in any case."""
_TRIES = 500
_DRAWN = """() => new Promise((done) => {
  requestAnimationFrame(() => requestAnimationFrame(done));
  setTimeout(done, 2000);
})"""


def drawn(tab: Any) -> None:
    """Wait until a tab has drawn what it holds; a browser that draws nothing is not waited for."""
    tab.evaluate(_DRAWN)


class Late:
    """What a tab asks at addresses that hold all of `parts`, held back in the order in which it was asked."""

    def __init__(self, tab: Any, *parts: str) -> None:
        self._tab = tab
        self.held: list[Any] = []
        self._ended: list[Any] = []
        tab.on("requestfinished", lambda request: self._ended.append(request))
        tab.on("requestfailed", lambda request: self._ended.append(request))
        tab.route(lambda url: all(part in url for part in parts), lambda route: self.held.append(route))

    def wait(self, count: int = 1) -> list[Any]:
        """The routes of what is held back, once there are so many."""
        for _ in range(_TRIES):
            if len(self.held) >= count:
                return self.held
            self._tab.wait_for_timeout(20)
        raise AssertionError("it was not asked")

    def give(self, which: int = 0, answer: Any = None, status: int = 200) -> None:
        """Let one go, or answer it, and wait until the page has done with it what it does."""
        route = self.wait(which + 1).pop(which)
        route.continue_() if answer is None else route.fulfill(json=answer, status=status)
        self.had(route)

    def had(self, route: Any) -> None:
        """Wait until the page has done what it does with an answer.

        Of what the page has given up meanwhile the browser may tell no end, and nothing is done with it either.
        """
        for _ in range(_TRIES):
            if route.request in self._ended:
                break
            self._tab.wait_for_timeout(20)
        drawn(self._tab)
