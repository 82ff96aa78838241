"""Calls out reach public addresses over HTTPS, and nothing else."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

from billing_site.platform.services.outgoing import DeliveryFailed, is_public, post_json, require_allowed_url


class TestIsPublic:
    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("93.184.215.14", True),
            ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
            ("127.0.0.1", False),
            ("10.1.2.3", False),
            ("172.16.0.1", False),
            ("192.168.1.1", False),
            ("169.254.169.254", False),  # where clouds keep credentials
            ("100.64.0.1", False),
            ("0.0.0.0", False),  # noqa: S104 — refused, not bound
            ("224.0.0.1", False),
            ("::1", False),
            ("fe80::1", False),
            ("fc00::1", False),
            ("::ffff:127.0.0.1", False),
            ("::ffff:93.184.215.14", True),
            ("2002:7f00:1::", False),  # 6to4 of 127.0.0.1
        ],
    )
    def test_of(self, address: str, expected: bool) -> None:
        assert is_public(ipaddress.ip_address(address)) is expected


class TestRequireAllowedUrl:
    @pytest.mark.parametrize("url", ["", "chat", "ftp://example.com", "https://", "file:///etc/passwd"])
    def test_refuses_what_is_no_url(self, url: str) -> None:
        with pytest.raises(DeliveryFailed, match="not a URL"):
            require_allowed_url(url)

    def test_refuses_plain_http_unless_development_allows_it(self, settings: Any) -> None:
        with pytest.raises(DeliveryFailed, match="Only https"):
            require_allowed_url("http://example.com/hook")
        settings.BILLING_ALLOW_PRIVATE_URLS = True
        require_allowed_url("http://example.com/hook")

    @pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254"])
    def test_refuses_private_addresses(self, host: str) -> None:
        with pytest.raises(DeliveryFailed, match="not a public one"):
            require_allowed_url(f"https://{host}/hook")


class TestPostJson:
    def test_refuses_a_name_that_leads_inside(self) -> None:
        with pytest.raises(DeliveryFailed, match="leads to an address that is not a public one"):
            post_json("https://localhost/hook", {})

    def test_refuses_a_name_of_which_one_address_is_private(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def answer(name: str, port: int, **_: Any) -> list[Any]:
            return [(2, 1, 6, "", (address, port)) for address in ("93.184.215.14", "127.0.0.1")]

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        with pytest.raises(DeliveryFailed, match="not a public one"):
            post_json("https://two-faced.example/hook", {})

    def test_says_when_nobody_listens(self, settings: Any) -> None:
        settings.BILLING_ALLOW_PRIVATE_URLS = True
        with socket.socket() as taken:  # bound, not listening
            taken.bind(("127.0.0.1", 0))
            with pytest.raises(DeliveryFailed, match="No answer: ConnectError"):
                post_json(f"http://127.0.0.1:{taken.getsockname()[1]}/hook", {})
