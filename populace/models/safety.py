"""What keeps a run from leaking: checked addresses, secrets that don't print. Pure.

- **Addresses.** A base URL is http or https, without credentials, and not at a link-local or cloud-metadata address
  in any spelling (decimal, hexadecimal, octal, IPv4 inside IPv6, digits and dots of other scripts): the host is checked
  as the client will understand it. Loopback and private networks are allowed: self-hosted models live there. What a
  name resolves to, and the peer of every connection, are checked again: `refusal_of_address`.
- **Secrets** print as '***', can't be encoded, copied into pickles or compared in variable time.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import yarl

from populace.core.errors import SettingsError

_METADATA_NAMES: Final = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_METADATA_NETWORKS: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.192/32",  # Oracle Cloud
        "fd00:ec2::/32",  # Amazon's over IPv6
        "fd20:ce::/32",  # Google's over IPv6
        "fd00:42::/32",  # Scaleway
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def check_base_url(url: str, key: str = "endpoint.base_url") -> str:
    """The base URL of a model, without a slash at its end. Raises SettingsError, naming `key`, where it can't be used.

    The error never repeats the URL when it holds credentials.
    """
    try:
        parts = urlsplit(url)
        _port = parts.port
        host = host_of(url)
    except ValueError as error:
        why = "" if "@" in url else f" ({error})"
        raise SettingsError(f"{key}: is no URL{why}. Write it like https://host/v1.") from None
    if parts.username is not None or parts.password is not None:
        raise SettingsError(f"{key}: must not hold a user name or a password. Put the key in endpoint.api_key_file.")
    if parts.scheme not in {"http", "https"} or not host:
        raise SettingsError(f"{key} = {url!r}: must begin with http:// or https:// and a host, like https://host/v1.")
    if parts.query and host.endswith((".azure.com", ".azure-api.net")):
        raise SettingsError(
            f"{key} = {url!r}: an address with a query can't be called. Azure takes OpenAI's protocol without one: set "
            f"{key} to https://RESOURCE.openai.azure.com/openai/v1 and model.name to the name of the deployment."
        )
    if parts.query or parts.fragment or re.search(r"[\s\x00-\x1f\x7f\\]", url):
        raise SettingsError(f"{key} = {url!r}: must be a plain address without '?', '#', spaces or backslashes.")
    if (reason := refusal_of_host(host)) is not None:
        raise SettingsError(f"{key} = {url!r}: {reason}, where no model is served. Name the model's own address.")
    return url.rstrip("/")


def host_of(url: str) -> str:
    """The host that a client of this URL asks for, '' where there is none: other scripts' digits and dots are ASCII's.

    Raises ValueError for what the client would not take.
    """
    return yarl.URL(url).raw_host or ""


def refusal_of_host(host: str) -> str | None:
    """Why no call goes to this host, or None. Names that are no address pass: check what they resolve to as well."""
    host = host.rstrip(".").lower()
    if host in _METADATA_NAMES:
        return f"{host} is a cloud's metadata service"
    return refusal_of_address(host) if _address(host) is not None else None


def refusal_of_address(address: str) -> str | None:
    """Why no call goes to this IP address, or None: link-local, cloud metadata, unspecified, multicast, reserved.

    Raises ValueError for what is no address.
    """
    found = _address(address)
    if found is None:
        raise ValueError(f"{address!r} is no IP address")
    for inner in (found, *_embedded(found)):
        if inner.is_link_local:
            return f"{address} is link-local"
        if any(inner in network for network in _METADATA_NETWORKS if network.version == inner.version):
            return f"{address} is a cloud's metadata service"
        if inner.is_unspecified or inner.is_multicast or (inner.version == 4 and inner.is_reserved):
            return f"{address} is no host's address"
    return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    if not re.fullmatch(r"[0-9a-fx.]+", host, re.IGNORECASE):
        return None
    try:
        # The old spellings that resolvers take: 2852039166, 0xa9fea9fe, 169.254.43518, 0251.0376.0251.0376
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _embedded(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address carries."""
    if address.version == 4:
        return []
    low = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    inner = [address.ipv4_mapped, address.sixtofour]
    if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        inner.append(low)
    if address.teredo is not None:
        inner.extend(address.teredo)
    return [found for found in inner if found is not None]


class Secret:
    """A key that never prints, and is shown only to who calls `reveal`. Raises SettingsError when it can't be a key."""

    __slots__ = ("_value",)

    def __init__(self, value: str, source: str = "the key") -> None:
        value = value.strip()
        if not value:
            raise SettingsError(f"{source} is empty. Put the model's API key there.")
        if not value.isascii() or not value.isprintable() or " " in value:
            raise SettingsError(f"{source} holds characters that no API key has (spaces, line breaks, non-ASCII).")
        self._value = value

    def reveal(self) -> str:
        """The key itself, for the header of a request and nothing else."""
        return self._value

    def scrub(self, text: str) -> str:
        """The text with every occurrence of the key replaced, for error messages of libraries and servers."""
        return text.replace(self._value, "***")

    def scrub_bytes(self, content: bytes) -> bytes:
        """The same for what a server sent."""
        return content.replace(self._value.encode(), b"***")

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: object) -> Secret:
        return self

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise TypeError("a secret can't be serialised: read it where it is used, from its variable or file")
