"""What Stripe answers when it refuses: `{"error": {"type", "code", "message", "param"}}`."""

from __future__ import annotations

from typing import Any

INVALID = "invalid_request_error"


class StripeError(Exception):
    """
    A refusal.

    `is_stored` tells whether an idempotency key remembers it: Stripe remembers what an endpoint decided, and forgets
    requests that never reached it (wrong parameters, too many requests, no permission).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = INVALID,
        code: str | None = None,
        param: str | None = None,
        is_stored: bool = True,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.is_stored = is_stored
        self.details = details or {}
        """What else the error says: `decline_code`, `charge`, the payment intent as it is now."""

    def as_body(self, request_id: str) -> dict[str, Any]:
        """Return the body of the answer."""
        error: dict[str, Any] = {}
        if self.code:
            error |= {
                "code": self.code,
                "doc_url": f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}",
            }
        error["message"] = self.message
        if self.param:
            error["param"] = self.param
        error |= self.details
        error |= {"request_log_url": f"https://dashboard.stripe.com/logs/{request_id}", "type": self.type}
        return {"error": error}


def wrong_parameter(message: str, *, code: str | None = None, param: str) -> StripeError:
    """Return the refusal of a parameter that no endpoint would take."""
    return StripeError(message, code=code, param=param, is_stored=False)


def missing_object(kind: str, id: str, *, param: str = "id", status: int = 404) -> StripeError:
    """Return the refusal of an id that names nothing: 404 in the path, 400 in a parameter."""
    return StripeError(f"No such {kind}: '{id}'", status=status, code="resource_missing", param=param)


def unexpected_state(code: str, message: str, details: dict[str, Any] | None = None) -> StripeError:
    """Return the refusal of something an object's status does not allow."""
    return StripeError(message, code=code, details=details)


def no_key() -> StripeError:
    """Return the refusal of a request without a key."""
    return StripeError(
        "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer "
        "auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        status=401,
        is_stored=False,
    )


def unknown_key(key: str) -> StripeError:
    """Return the refusal of a key; like Stripe it repeats the ends of it."""
    shown = f"{key[:8]}{'*' * max(0, len(key) - 12)}{key[-4:]}"
    return StripeError(f"Invalid API Key provided: {shown}", status=401, is_stored=False)


def publishable_key() -> StripeError:
    """Return the refusal of a key that is made for browsers."""
    return StripeError(
        "This API call cannot be made with a publishable API key. Please use a secret API key.",
        status=401,
        code="secret_key_required",
        is_stored=False,
    )


def no_permission(permission: str) -> StripeError:
    """Return the refusal of a restricted key."""
    return StripeError(
        "The provided key does not have the required permissions for this endpoint. "
        f"Having the '{permission}' permission would allow this request to continue.",
        status=403,
        is_stored=False,
    )


def other_account(id: str) -> StripeError:
    """Return the refusal of an account that is not ours."""
    text = f"The provided key does not have access to account '{id}' (or that account does not exist)."
    return StripeError(text, status=403, code="account_invalid", is_stored=False)


def unknown_path(method: str, path: str) -> StripeError:
    """Return the refusal of an address that does not exist."""
    return StripeError(f"Unrecognized request URL ({method}: {path}).", status=404, is_stored=False)


def server_error(status: int) -> StripeError:
    """Return what a failing or busy service answers. An idempotency key remembers a 500, as Stripe's do."""
    if status == 429:
        return StripeError("Request rate limit exceeded.", status=429, code="rate_limit", is_stored=False)
    if status == 409:
        text = "This object cannot be accessed right now because another request is currently accessing it."
        return StripeError(text, status=409, code="lock_timeout", is_stored=False)
    return StripeError("An unknown error occurred", status=status, type="api_error", is_stored=status == 500)
