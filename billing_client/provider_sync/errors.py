"""What can go wrong at the provider."""

from __future__ import annotations

from collections.abc import Sequence

from billing_client.errors import BillingError


class ProviderError(BillingError):
    """
    The provider refused, or could not be asked.

    `is_replay` says that an idempotency key repeated this refusal; `original_request` is the request it was made for.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int = 0,
        code: str = "",
        request_id: str = "",
        retryable: bool = False,
        is_replay: bool = False,
        original_request: str = "",
    ) -> None:
        super().__init__(detail, status=status, code=code, request_id=request_id, retryable=retryable)
        self.is_replay = is_replay
        self.original_request = original_request


class ProviderDiffers(Exception):
    """The provider has objects that can neither be used nor changed; nothing was written."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = tuple(lines)
