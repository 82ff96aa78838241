"""
One way to call Stripe: our key and version, our keys of idempotency, our words for what goes wrong.

The library retries nothing by itself: a call that was not answered is repeated by whoever owns its row, with the same
key, and until then counts as not known. Source: ADR 0054.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import stripe
from django.conf import settings

from invoicing.gateways.port import (
    CallSpent,
    NoProcessorAvailable,
    ObjectUnknown,
    OrderRejected,
    ProviderKeyRefused,
    ProviderUnavailable,
)

logger = logging.getLogger(__name__)
# The library writes bodies to its log, client secrets and names of people among them.
logging.getLogger("stripe").setLevel(logging.WARNING)

_LIVE: Final = ("sk_live_", "rk_live_")
_TEST: Final = ("sk_test_", "rk_test_")
_PAGE: Final = 100
_NOT_ANSWERED: Final = "Stripe failed or did not answer in time; try again."

Answer = dict[str, Any]
"""An object of Stripe's as it answers it."""


def find_key(*, livemode: bool) -> str:
    """
    Return the secret key of a mode.

    :raises NoProcessorAvailable: without one, for one of the other mode, and for a publishable key.
    """
    key: str = settings.STRIPE_LIVE_SECRET_KEY if livemode else settings.STRIPE_TEST_SECRET_KEY
    mode = "live" if livemode else "test"
    if not key:
        raise NoProcessorAvailable(f"Stripe has no key for {mode} mode here: set BILLING_STRIPE_SECRET_KEY.")
    if not key.startswith(_LIVE if livemode else _TEST):
        raise NoProcessorAvailable(
            f"BILLING_STRIPE_SECRET_KEY is no secret key for {mode} mode (sk_{mode}_… or rk_{mode}_…)."
        )
    return key


def make_client(*, livemode: bool) -> stripe.StripeClient:
    """Return a client for a mode. :raises NoProcessorAvailable: as `find_key`."""
    return _make_client(
        find_key(livemode=livemode),
        settings.STRIPE_API_VERSION,
        settings.BILLING_STRIPE_API_BASE,
        settings.BILLING_PROVIDER_TIMEOUT_SECONDS,
        process=os.getpid(),
    )


@lru_cache(maxsize=8)
def _make_client(key: str, version: str, base: str, timeout: int, *, process: int) -> stripe.StripeClient:  # noqa: ARG001
    """Return a client with connections of its own: a worker that was forked must not share its parent's."""
    return stripe.StripeClient(
        key,
        stripe_version=version,
        base_addresses={"api": base.rstrip("/")} if base else None,
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=timeout),
    )


class CardRefused(Exception):
    """A bank, or Stripe for it, said no. `error` is Stripe's error, with the object it belongs to."""

    def __init__(self, error: Answer) -> None:
        super().__init__(str(error.get("decline_code") or error.get("code") or "declined"))
        self.error = error


class StripeCaller:
    """What every part of the adapter is built on."""

    def __init__(self, *, livemode: bool) -> None:
        self.livemode = livemode
        self.api = make_client(livemode=livemode).v1

    def write(self, call: Callable[..., stripe.StripeObject], *names: str, key: str, params: Any = None) -> Answer:
        """
        Ask for a change, with our key, and return the object.

        :raises CardRefused: when it is declined. :raises OrderRejected: when it was surely not done.
        :raises ObjectUnknown: for an object in the path that is not there.
        :raises ProviderUnavailable: when the outcome is not known.
        """
        return self._ask(lambda: call(*names, params=params, options={"idempotency_key": key}))

    def name_token(self, token: str, *, key: str) -> str:
        """Return the method that a token of a card becomes; anything else names a method already. Raises as `write`."""
        if not token.startswith("tok_"):
            return token
        params = {"type": "card", "card": {"token": token}}
        return str(self.write(self.api.payment_methods.create, key=f"{key}:method", params=params)["id"])

    def read(self, call: Callable[..., stripe.StripeObject], *names: str, params: Any = None) -> Answer:
        """Return an object. :raises ObjectUnknown: for none. :raises ProviderUnavailable: when nothing is known."""
        try:
            return self._ask(lambda: call(*names, params=params))
        except (OrderRejected, CardRefused) as refusal:
            # A question that Stripe does not understand is our mistake; nothing is known.
            logger.error("Stripe did not take a question: %s", refusal)
            raise ProviderUnavailable(f"Stripe did not take a question: {refusal}") from None

    def each(self, call: Callable[..., Any], *, params: Any) -> Iterator[Answer]:
        """Yield the objects of a list, newest first, page by page. Raises as `read`."""
        after = ""
        while True:
            page = self.read(call, params={**params, "limit": _PAGE, **({"starting_after": after} if after else {})})
            yield from page["data"]
            if not page["has_more"] or not page["data"]:
                return
            after = page["data"][-1]["id"]

    def each_made(
        self, call: Callable[..., Any], *, since: datetime, until: datetime, expand: list[str] | None = None
    ) -> Iterator[Answer]:
        """Yield the objects of a list made in [since, until), whole seconds as Stripe has them."""
        params: Answer = {"created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())}}
        return self.each(call, params=params | ({"expand": expand} if expand else {}))

    def _ask(self, call: Callable[[], stripe.StripeObject]) -> Answer:
        try:
            return call().to_dict()
        except stripe.StripeError as error:
            # Without the chain: what the library raises carries bodies, with client secrets.
            translated = _translate(error)
        raise translated from None


def _translate(error: stripe.StripeError) -> Exception:
    """Return our word for what went wrong. Nothing of a body gets into it but Stripe's sentence about a request."""
    request = f" (request {error.request_id})" if error.request_id else ""
    code = error.code or ""
    if isinstance(error, stripe.CardError):
        return CardRefused(_read_error(error))
    if isinstance(error, (stripe.AuthenticationError, stripe.PermissionError)):
        what = "refuses our key" if isinstance(error, stripe.AuthenticationError) else "does not let our key do this"
        logger.error("Stripe %s%s", what, request)
        return ProviderKeyRefused(f"Stripe {what}: an operator must look at BILLING_STRIPE_SECRET_KEY.")
    if isinstance(error, stripe.IdempotencyError):
        logger.error("Stripe has had this key with another request%s", request)
        return CallSpent("Stripe has had this key with another request; what came of it is asked for.")
    if isinstance(error, stripe.InvalidRequestError):
        if code == "lock_timeout":
            return ProviderUnavailable(_NOT_ANSWERED)
        sentence = _read_sentence(error)
        if error.http_status == 404:
            return ObjectUnknown(sentence)
        return OrderRejected(code or "invalid_request", sentence)
    logger.warning("Stripe did not answer: %s %s%s", type(error).__name__, error.http_status or "", request)
    if _is_repeated(error):
        # Stripe remembers a failure with its key, and never tries that call again.
        return CallSpent("Stripe failed at this call before; what came of it is asked for.")
    return ProviderUnavailable(_NOT_ANSWERED)


def _is_repeated(error: stripe.StripeError) -> bool:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    return headers.get("idempotent-replayed") == "true"


def _read_error(error: stripe.StripeError) -> Answer:
    body = error.json_body
    found = body.get("error") if isinstance(body, dict) else None
    return dict(found) if isinstance(found, dict) else {"code": error.code}


def _read_sentence(error: stripe.StripeError) -> str:
    """Return what Stripe says about a request, short: names of parameters and objects, and nothing that is secret."""
    return (error.user_message or "Stripe refuses the request.")[:300]
