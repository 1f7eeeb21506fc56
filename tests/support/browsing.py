"""The page's server as it is when it is slow: answers held back in a browser, and given in whichever order."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple

PATIENCE_MS = 240_000
"""How long tests of a tab wait for what comes in any case."""
_EVERY_MS = 20
_DRAWN = """() => new Promise((done) => {
  requestAnimationFrame(() => requestAnimationFrame(done));
  setTimeout(done, 2000);
})"""


def drawn(tab: Any) -> None:
    """Wait until a tab has drawn what it holds; a browser that draws nothing is not waited for."""
    tab.evaluate(_DRAWN)


_HOLD = """([name, parts]) => {
  if (!window.late) {
    window.late = new Map();
    const real = window.fetch;
    window.fetch = (address, options = {}) => {
      const found = [...window.late.values()].find((one) => one.parts.every((part) => address.includes(part)));
      if (!found) return real(address, options);
      const { signal, body = null } = options;
      return new Promise((resolve, reject) => {
        const give_up = () => reject(signal.reason);
        if (signal?.aborted) give_up();
        signal?.addEventListener("abort", give_up);
        const send = () => real(address, options), gone = () => signal?.aborted;
        found.held.push({ url: address, body, resolve, send, gone });
      });
    };
  }
  if (!window.late.has(name)) window.late.set(name, { parts, held: [] });
}"""
_GIVE = """async ([name, which, answer]) => {
  const [one] = window.late.get(name).held.splice(which, 1);
  if (one.gone()) return;
  if (answer) {
    const bytes = Uint8Array.from(atob(answer.body), (letter) => letter.charCodeAt(0));
    one.resolve(new Response(bytes, { status: answer.status, headers: answer.headers }));
  } else {
    const come = await one.send();
    one.resolve(new Response(await come.arrayBuffer(), { status: come.status, headers: come.headers }));
  }
}"""


class Held(NamedTuple):
    """What a tab has asked, and is not answered: the address, and what was sent along, read from JSON."""

    url: str
    data: Any


class Late:
    """What a tab asks at addresses that hold all of `parts`, held back in the order in which it was asked.

    It is held back in the tab, before it is sent: a browser may never tell the end of a request that was held back on
    its way and that the page has given up meanwhile.
    """

    def __init__(self, tab: Any, *parts: str) -> None:
        self._tab = tab
        self._name = " ".join(parts)
        tab.add_init_script(f"({_HOLD})({json.dumps([self._name, parts])})")
        tab.evaluate(_HOLD, [self._name, parts])

    @property
    def held(self) -> list[Held]:
        """What is held back."""
        code = "(name) => window.late.get(name).held.map(({ url, body }) => [url, body])"
        return [Held(url, body and json.loads(body)) for url, body in self._tab.evaluate(code, self._name)]

    def wait(self, count: int = 1) -> list[Held]:
        """What is held back, once there is so much."""
        code = "([name, count]) => window.late.get(name).held.length >= count"
        self._tab.wait_for_function(code, arg=[self._name, count], polling=_EVERY_MS)
        return self.held

    def give(
        self,
        which: int = 0,
        answer: Any = None,
        status: int = 200,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send one on, or answer it, with JSON or a body, and wait until the page has done with it what it does."""
        self.wait(which + 1)
        given = None
        if answer is not None or body is not None:
            data = json.dumps(answer).encode() if body is None else body
            given = {"body": b64encode(data).decode(), "status": status, "headers": dict(headers or {})}
        self._tab.evaluate(_GIVE, [self._name, which, given])
        drawn(self._tab)
