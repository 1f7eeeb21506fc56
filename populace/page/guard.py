"""Which requests are refused, and what browsers are told of the page's limits. Pure.

A page on this machine can be reached by whatever else the browser shows: by a form or an image of another site (its
`Origin` or `Sec-Fetch-Site` tells), and by a name that was pointed here afterwards (DNS rebinding: its `Host` tells).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Sent with everything: no script but the page's own files, no text made markup, nothing from or to elsewhere."""
_ELSEWHERE: Final = "a page from elsewhere may not ask this one"
_OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def own_names(host: str, others: Collection[str] = ()) -> frozenset[str]:
    """By which names the page may be called: those of this machine's loopback, what it listens on, and others."""
    return frozenset({*_OWN_NAMES, *({host} if host not in ("0.0.0.0", "::", "") else ()), *others})  # noqa: S104


def refusal(method: str, headers: Mapping[str, str], own: Collection[str], *, anywhere: bool = False) -> str | None:
    """Why a request is refused; None where it is not.

    `own` are the names of the page. Where it listens on all addresses (`anywhere`), it may be called by any address in
    numbers, too, since such a one cannot be rebound.
    """
    host = _name_and_port(headers.get("Host", ""))
    if host is None or not (host[0] in own or (anywhere and _is_address(host[0]))):
        return "the page is not called by this name: open it by the address that populace printed"
    origin = headers.get("Origin")
    if origin is not None:
        scheme, _, theirs = origin.partition("://")
        if scheme not in ("http", "https") or _name_and_port(theirs) != host:
            return _ELSEWHERE
    from_elsewhere = headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
    followed = method == "GET" and headers.get("Sec-Fetch-Mode") == "navigate"  # a link to the page
    return _ELSEWHERE if from_elsewhere and not followed else None


def _name_and_port(text: str) -> tuple[str, int | None] | None:
    """The name (in lower case, without brackets) and port of a `Host`; None where it is none."""
    try:
        parts = urlsplit(f"//{text}")
        if not parts.hostname or parts.path or parts.query or parts.fragment or "@" in text:
            return None
        return parts.hostname.rstrip("."), parts.port
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
