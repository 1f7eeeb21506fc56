"""Where calls may go: hosts in every spelling, the peer of every connection, proxies, certificates. Loopback only."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import socket
import ssl
import subprocess
import sys
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yarl
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from support.client import ask, fates, model, run
from support.misbehaving import Misbehaving
from support.sections import sectioned

from populace.core.errors import ModelError, SettingsError
from populace.models import http as http_module
from populace.models import safety
from populace.models.endings import Fatal
from populace.models.http import Http, Reply, proxy_for
from populace.models.safety import check_base_url, refusal_of_address

DIGITS = {
    digit: [char for char in map(chr, range(0x80, 0x1FC00)) if unicodedata.normalize("NFKC", char) == digit]
    for digit in "0123456789"
}
DOTS = [".", "\u3002", "\uff0e", "\uff61"]
REFUSED = st.one_of(
    st.ip_addresses(network="169.254.0.0/16"),
    st.ip_addresses(network="224.0.0.0/3"),
    st.sampled_from(["100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.0"]).map(ipaddress.ip_address),
)


@st.composite
def spelled(draw: Any) -> str:
    """A refused IPv4 address as a host, in some spelling that a resolver or a client takes for it."""
    address = draw(REFUSED)
    number, octets = int(address), address.packed
    match draw(st.sampled_from(["dotted", "whole", "short", "inside"])):
        case "inside":
            wrapped = draw(st.sampled_from(["::ffff:{}", "64:ff9b::{}", "::{}"]).filter(lambda form: number > 1))
            inner = ipaddress.IPv6Address(wrapped.format(address))
            return f"[{draw(st.sampled_from([str(inner), inner.exploded, wrapped.format(address)]))}]"
        case "whole":
            text = draw(st.sampled_from(["{:d}", "0x{:x}", "0X{:X}", "0{:o}"])).format(number)
        case "short":
            text = f"{octets[0]}.{octets[1]}.{number & 0xFFFF}"
        case _:
            forms = st.sampled_from(["{:d}", "0x{:x}", "0{:o}"])
            text = ".".join(draw(forms).format(octet) for octet in octets)
    text += draw(st.sampled_from(["", "."]))
    if draw(st.booleans()):
        text = "".join(
            draw(st.sampled_from(DIGITS[char])) if char in DIGITS and draw(st.booleans()) else char for char in text
        )
        text = "".join(draw(st.sampled_from(DOTS)) if char == "." else char for char in text)
    return text


@given(spelled())
def test_a_refused_address_is_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(SettingsError, match=r"endpoint\.base_url"):
        check_base_url(f"http://{host}:8000/v1")


def test_the_address_that_passed_once() -> None:
    circled = "\u2460\u2465\u2468.\u2461\u2464\u2463.\u2460\u2465\u2468.\u2461\u2464\u2463"
    wide = "\uff11\uff16\uff19.254.169.254"
    for host in (circled, "169\u3002254\u3002169\u3002254", wide, "\uff4detadata.google.internal"):
        with pytest.raises(SettingsError, match="no model is served"):
            check_base_url(f"http://{host}/v1")
    assert check_base_url("http://\u2460\u2461\u2466.0.0.1:8000/v1"), "loopback passes"


LETTERS = [*"0123456789abcdefxX.:[]%", *DOTS, "\u2460", "\uff19", "\xb2", "\u0663", "\u200d"]
HOSTS = st.text(st.sampled_from(LETTERS), min_size=1, max_size=24)


@given(HOSTS)
def test_no_host_that_passes_is_a_number_that_is_refused(host: str) -> None:
    """What the system takes for the address is asked of the system itself; nothing is looked up."""
    try:
        url = check_base_url(f"http://{host}/v1")
    except SettingsError:
        return
    try:
        found = socket.getaddrinfo(yarl.URL(url).raw_host, 80, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return
    assert all(refusal_of_address(one[4][0]) is None for one in found)


def test_control_a_check_of_the_host_as_written_lets_circled_digits_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "host_of", lambda url: safety.urlsplit(url).hostname or "")
    assert check_base_url("http://\u2460\u2465\u2468.\u2461\u2464\u2463.\u2460\u2465\u2468.\u2461\u2464\u2463/v1")


def get(base_url: str) -> Any:
    """GET /models there, through the gateway's own client."""

    async def session() -> Any:
        http = Http(base_url, key=None, connections=1, timeout_s=5.0)
        await http.open()
        try:
            return await http.get("/models")
        finally:
            await http.close()

    return asyncio.run(session())


def test_a_peer_that_is_refused_is_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Misbehaving() as server:
        assert isinstance(get(server.base_url), Reply)
        monkeypatch.setattr(http_module, "_refusal_of_peer", lambda address: f"{address} is link-local")
        refused = get(server.base_url)
        assert isinstance(refused, Fatal)
        assert refused.kind == "address"
        errors: list[Any] = []
        got = run(model(server), [ask(1), ask(2)], lambda gateway: errors.append(gateway.failure))
        assert fates(got) == {"error": 2}
        assert isinstance(errors[0], ModelError)
        assert "endpoint.base_url" in str(errors[0])
        assert server.seen == []


def test_a_name_that_leads_to_a_refused_address_ends_the_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "refusal_of_address", lambda address: f"{address} is link-local")
    refused = get("http://localhost:9/v1")
    assert isinstance(refused, Fatal)
    assert "localhost leads to an address that is refused" in refused.detail


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")
"""What of an environment decides; with REQUEST_METHOD the standard library takes the process for a CGI script."""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    real = socket.getaddrinfo

    def lookup(host: Any, *rest: Any, **more: Any) -> Any:
        if str(host).endswith(".invalid"):  # no name server is asked, which may take its time
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return monkeypatch


def test_calls_go_through_the_proxy_that_the_environment_names(environment: pytest.MonkeyPatch) -> None:
    with Misbehaving() as proxy:
        environment.setenv("HTTP_PROXY", f"http://user:secret@127.0.0.1:{proxy.port}")
        environment.setenv("OPENAI_API_KEY", "sk-test")
        settings = sectioned(kind="openai", name="test-model", base_url="http://model.invalid/v1")
        got = run(settings, [ask(agent) for agent in range(3)])
        assert fates(got) == {"answered": 3}
        assert len(proxy.seen) == 3
        assert "Proxy-Authorization" in proxy.seen[0].header_names


def test_this_machine_and_what_no_proxy_names_are_asked_directly(environment: pytest.MonkeyPatch) -> None:
    with Misbehaving() as server, Misbehaving() as proxy:
        environment.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        environment.setenv("NO_PROXY", "inside.example")
        assert fates(run(model(server), [ask(1)])) == {"answered": 1}
        assert proxy.seen == []
    assert proxy_for("http://inside.example/v1") is None
    assert proxy_for("http://[::1]:8000/v1") is None
    assert proxy_for("http://\u2460\u2461\u2466.0.0.1/v1") is None
    assert proxy_for("http://outside.example/v1") == f"http://127.0.0.1:{proxy.port}"
    assert proxy_for("https://outside.example/v1") is None


def test_a_proxy_is_not_asked_for_a_name_that_leads_to_a_refused_address(environment: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def lookup(host: Any, *rest: Any, **more: Any) -> Any:
        return real("169.254.169.254" if host == "rebound.invalid" else host, *rest, **more)

    with Misbehaving() as proxy:
        environment.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        environment.setattr(socket, "getaddrinfo", lookup)
        refused = get("http://rebound.invalid/v1")
        assert isinstance(refused, Fatal)
        assert "link-local" in refused.detail
        assert proxy.seen == []


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that only itself vouches for, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return files


@asynccontextmanager
async def serving_tls(files: tuple[Path, Path]) -> AsyncIterator[int]:
    async def models(_request: web.Request) -> web.Response:
        return web.json_response({"data": []})

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    app = web.Application()
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


ASKING = """
import asyncio, sys
from populace.models.http import Http, Reply
async def main():
    http = Http(sys.argv[1], key=None, connections=1, timeout_s=5.0)
    await http.open()
    reply = await http.get("/models")
    await http.close()
    print(reply.status if isinstance(reply, Reply) else reply.detail)
asyncio.run(main())
"""


def test_an_unknown_authority_is_named_with_the_way_to_trust_it(tmp_path: Path) -> None:
    files = certificate(tmp_path)

    async def both() -> list[str]:
        said = []
        async with serving_tls(files) as port:
            for trusted in ({}, {"SSL_CERT_FILE": str(files[0])}):
                command = [sys.executable, "-c", ASKING, f"https://127.0.0.1:{port}/v1"]
                environment = {**os.environ, **trusted}
                done = await asyncio.to_thread(
                    subprocess.run, command, capture_output=True, text=True, env=environment, check=True
                )
                said.append(done.stdout)
        return said

    without, with_it = asyncio.run(both())
    assert "self-signed certificate" in without
    assert "SSL_CERT_FILE" in without
    assert with_it.strip() == "200"


def test_an_azure_address_with_a_query_is_refused_with_the_way_to_do_it() -> None:
    with pytest.raises(SettingsError, match=r"https://RESOURCE\.openai\.azure\.com/openai/v1") as caught:
        check_base_url("https://r.openai.azure.com/openai/deployments/d?api-version=2024-10-21")
    assert "model.name to the name of the deployment" in str(caught.value)
