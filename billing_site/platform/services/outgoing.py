"""
Calls to addresses that other people chose: HTTPS only, to public addresses only, no redirects, with a timeout.

The name is resolved once and the call goes to the address that was checked, so that a name which changes its mind
between the check and the call reaches nothing inside. A development setting allows the rest.
Source: contract chapter Events and webhooks out.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from django.conf import settings

TIMEOUT_SECONDS: Final = 10.0
_PORTS: Final = {"https": 443, "http": 80}


class DeliveryFailed(Exception):
    """A message that did not arrive, with why: one sentence without secrets, since the address may be one."""


def post_json(url: str, payload: dict[str, Any], *, timeout: float = TIMEOUT_SECONDS) -> None:
    """
    Send `payload` as JSON; any answer but 2xx counts as not arrived. Each step takes at most `timeout` seconds.

    :raises DeliveryFailed: when the address is not allowed, cannot be reached, or answers something else.
    """
    with httpx.Client(transport=_CheckedTransport(), timeout=timeout, follow_redirects=False) as client:
        try:
            with client.stream("POST", url, json=payload) as response:
                status = response.status_code
        except httpx.InvalidURL as error:
            raise DeliveryFailed("The address is not a URL.") from error
        except httpx.HTTPError as error:
            raise DeliveryFailed(f"No answer: {type(error).__name__}.") from error
    if not 200 <= status < 300:
        raise DeliveryFailed(f"The other side answered {status}.")


def require_allowed_url(url: str) -> None:
    """
    Check what can be known of a URL without resolving its name.

    :raises DeliveryFailed: when it is no HTTPS URL or names a private address.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in _PORTS:
        raise DeliveryFailed("The address is not a URL.")
    if settings.BILLING_ALLOW_PRIVATE_URLS:
        return
    if parts.scheme != "https":
        raise DeliveryFailed("Only https is allowed.")
    try:
        literal = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return
    if not is_public(literal):
        raise DeliveryFailed("The address is not a public one.")


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Tell whether an address belongs to the public network, also when it hides an IPv4 address inside."""
    if isinstance(address, ipaddress.IPv6Address):
        hidden = address.ipv4_mapped or address.sixtofour
        if hidden is not None:
            return is_public(hidden)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


class _CheckedTransport(httpx.BaseTransport):
    """Resolves the name, refuses what is not public, and connects to the address that was checked."""

    def __init__(self) -> None:
        self._inner = httpx.HTTPTransport(trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        require_allowed_url(str(request.url))
        name = request.url.host
        address = _resolve(name, request.url.port or _PORTS[request.url.scheme])
        # The certificate must be the name's, whatever the address it was reached by.
        request.extensions = {**request.extensions, "sni_hostname": name}
        request.url = request.url.copy_with(host=address)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


def _resolve(name: str, port: int) -> str:
    """Return the first address of a name, all of which must be allowed."""
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise DeliveryFailed("The name of the address cannot be resolved.") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not settings.BILLING_ALLOW_PRIVATE_URLS:
        for address in addresses:
            if not is_public(ipaddress.ip_address(address.partition("%")[0])):
                raise DeliveryFailed("The name leads to an address that is not a public one.")
    return addresses[0]
