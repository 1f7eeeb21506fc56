"""Requests that are refused: by other names, from other pages; and that the checks are what refuses them."""

from __future__ import annotations

import pytest

from populace.page import guard

OWN = guard.own_names("127.0.0.1")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:8642"},
        {"Host": "localhost:8642"},
        {"Host": "[::1]:8642"},
        {"Host": "LOCALHOST"},
        {"Host": "127.0.0.1:8642", "Origin": "http://127.0.0.1:8642", "Sec-Fetch-Site": "same-origin"},
        {"Host": "127.0.0.1:8642", "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Host": "127.0.0.1:8642", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_a_browser_on_this_machine_is_let_in(headers):
    assert guard.refusal("GET", headers, OWN) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": ""},
        {"Host": "evil.example:8642"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost@evil.example"},
        {"Host": "localhost/..:80"},
        {"Host": "10.0.0.7:8642"},
        {"Host": "127.0.0.1:notaport"},
        {"Host": "127.0.0.1:8642", "Origin": "http://evil.example"},
        {"Host": "127.0.0.1:8642", "Origin": "null"},
        {"Host": "127.0.0.1:8642", "Origin": "http://127.0.0.1:9999"},
        {"Host": "127.0.0.1:8642", "Origin": "file://127.0.0.1:8642"},
        {"Host": "127.0.0.1:8642", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Host": "127.0.0.1:8642", "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
def test_whatever_comes_from_elsewhere_is_refused(headers):
    assert guard.refusal("GET", headers, OWN)


def test_a_form_of_another_page_is_refused_though_it_navigates():
    headers = {"Host": "127.0.0.1:8642", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert guard.refusal("POST", headers, OWN)


def test_names_are_given_and_addresses_in_numbers_cannot_be_rebound():
    assert guard.refusal("GET", {"Host": "lab.example"}, guard.own_names("0.0.0.0", ["lab.example"])) is None
    assert guard.refusal("GET", {"Host": "10.0.0.7:8642"}, guard.own_names("0.0.0.0"), anywhere=True) is None
    assert guard.refusal("GET", {"Host": "rebound.example:8642"}, guard.own_names("0.0.0.0"), anywhere=True)


def test_the_policy_lets_no_script_in_but_the_pages_own_files():
    policy = guard.HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
