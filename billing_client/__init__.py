"""
Client of the billing back office: a Python SDK and the `billing` command. Speaks HTTP, imports nothing of the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from billing_client.errors import (
        AuthError,
        BillingError,
        ConnectionFailed,
        InvalidState,
        NotFound,
        PaymentFailed,
        ProviderUnavailable,
        QuotaExceeded,
    )
    from billing_client.http import BillingClient

__all__ = [
    "AuthError",
    "BillingClient",
    "BillingError",
    "ConnectionFailed",
    "InvalidState",
    "NotFound",
    "PaymentFailed",
    "ProviderUnavailable",
    "QuotaExceeded",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # Late, so that `billing --help` does not load an HTTP library.
    if name == "BillingClient":
        from billing_client.http import BillingClient

        return BillingClient
    if name in __all__:
        from billing_client import errors

        return getattr(errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
