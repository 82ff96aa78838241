"""
The local provider: payments without a network, for tests, rehearsals and trying the product out. Never in live mode.

What happens depends on the token alone. Test tokens such as `tok_visa` and `pm_card_visa` stand for a new card each
time; those in `_DECLINES` are stored and then declined; `tok_timeout` never answers. Anything else is taken for the
name of a method that works and of which nothing is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from billing_site.kernel.money import Money
from invoicing.gateways.declines import DeclineReason
from invoicing.gateways.port import (
    Declined,
    Payer,
    ProviderUnavailable,
    StoredMethod,
    TokenRejected,
    UsageRejected,
    UsageReport,
)

_PREFIXES: Final = ("tok_", "btok_", "pm_card_", "pm_")
_OWN_PREFIX: Final = "pm_local_"


def _card(brand: str, last4: str, funding: str = "credit") -> dict[str, Any]:
    return {
        "brand": brand,
        "last4": last4,
        "exp_month": 12,
        "exp_year": 2034,
        "funding": funding,
        "country": "US",
    }


CARDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "visa": _card("visa", "4242"),
    "visadebit": _card("visa", "5556", "debit"),
    "mastercard": _card("mastercard", "4444"),
    "mastercarddebit": _card("mastercard", "8210", "debit"),
    "mastercardprepaid": _card("mastercard", "5100", "prepaid"),
    "amex": _card("amex", "0005"),
    "discover": _card("discover", "1117"),
    "diners": _card("diners", "0004"),
    "jcb": _card("jcb", "0505"),
    "unionpay": _card("unionpay", "0005"),
    "releasefails": _card("visa", "0101"),
}
_BANK_ACCOUNTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "us": {"bank_name": "Test Bank", "last4": "6789", "account_type": "checking"},
    "usverified": {"bank_name": "Test Bank", "last4": "6789", "account_type": "checking"},
}
_DECLINES: Final[Mapping[str, tuple[str, str]]] = {
    "declined": (DeclineReason.GENERIC, "0002"),
    "chargedeclined": (DeclineReason.GENERIC, "0002"),
    "insufficientfunds": (DeclineReason.INSUFFICIENT_FUNDS, "9995"),
    "chargedeclinedinsufficientfunds": (DeclineReason.INSUFFICIENT_FUNDS, "9995"),
    "limitreached": (DeclineReason.LIMIT_REACHED, "6975"),
    "chargedeclinedvelocitylimitexceeded": (DeclineReason.LIMIT_REACHED, "6975"),
    "addressmismatch": (DeclineReason.ADDRESS_MISMATCH, "0028"),
    "avsfail": (DeclineReason.ADDRESS_MISMATCH, "0028"),
    "expired": (DeclineReason.EXPIRED_CARD, "0069"),
    "expiredcard": (DeclineReason.EXPIRED_CARD, "0069"),
    "chargedeclinedexpiredcard": (DeclineReason.EXPIRED_CARD, "0069"),
    "incorrectcvc": (DeclineReason.INCORRECT_CVC, "0127"),
    "chargedeclinedincorrectcvc": (DeclineReason.INCORRECT_CVC, "0127"),
    "invalidnumber": (DeclineReason.INVALID_NUMBER, "4241"),
    "lost": (DeclineReason.LOST_CARD, "9987"),
    "lostcard": (DeclineReason.LOST_CARD, "9987"),
    "chargedeclinedlostcard": (DeclineReason.LOST_CARD, "9987"),
    "stolen": (DeclineReason.STOLEN_CARD, "9979"),
    "stolencard": (DeclineReason.STOLEN_CARD, "9979"),
    "chargedeclinedstolencard": (DeclineReason.STOLEN_CARD, "9979"),
    "donothonor": (DeclineReason.DO_NOT_HONOR, "0002"),
    "unverifiable": (DeclineReason.UNKNOWN, "0119"),
    "chargedeclinedprocessingerror": (DeclineReason.UNKNOWN, "0119"),
}
_TIMEOUTS: Final = frozenset({"timeout"})
USAGE_TIMEOUTS: Final = frozenset({"cus_timeout"})
"""Customers whose usage is never answered."""
USAGE_REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    "cus_unknown": ("customer_unknown", "The provider knows no customer by this name."),
    "cus_archived": ("meter_archived", "The provider's meter is archived."),
}
"""Customers whose usage is refused; the second for good."""
TEST_CARDS: Final = (*CARDS, *_DECLINES, *_TIMEOUTS)
"""What may follow `tok_` for a card."""


class LocalGateway:
    """See the module. Keeps nothing: the name given to a stored method says what it does."""

    name = "local"

    def store_method(self, *, token: str, type: str, payer: Payer, key: str) -> StoredMethod:
        """Return the method behind a token; the same key and token give the same one."""
        word = _read_word(token)
        if word is None:
            return StoredMethod(ref=token)
        is_bank_account = word in _BANK_ACCOUNTS
        if is_bank_account != (type == "bank_account"):
            raise TokenRejected(f"This token names a {'bank account' if is_bank_account else 'card'}.")
        digest = hashlib.sha256(f"{key}\x1f{token}".encode()).hexdigest()[:20]
        return StoredMethod(
            ref=f"{_OWN_PREFIX}{word}_{digest}", card=_find_card(word), bank_account=_BANK_ACCOUNTS.get(word, {})
        )

    def authorise(self, *, method_ref: str, amount: Money, key: str) -> str:
        """Decline, time out or agree, as the method's name says."""
        word = _read_ref(method_ref)
        if word in _TIMEOUTS:
            raise ProviderUnavailable("The payment provider did not answer in time; try again.")
        if word in _DECLINES:
            raise Declined(_DECLINES[word][0])
        return f"auth_{word or 'plain'}_{hashlib.sha256(key.encode()).hexdigest()[:20]}"

    def cancel(self, *, authorisation_ref: str, key: str) -> None:
        """Let a hold go, except on the one test card whose holds lapse by themselves."""
        if authorisation_ref.startswith("auth_releasefails_"):
            raise ProviderUnavailable("The payment provider did not let the hold go.")

    def detach_method(self, *, method_ref: str, key: str) -> None:
        """Forget a method; there is nothing to forget."""

    def report_usage(self, *, report: UsageReport, key: str) -> str:
        """Count a quantity, unless the customer's name says otherwise; the same key is the same event."""
        if report.customer_ref in USAGE_TIMEOUTS:
            raise ProviderUnavailable("The payment provider did not answer in time; try again.")
        if report.customer_ref in USAGE_REFUSALS:
            code, detail = USAGE_REFUSALS[report.customer_ref]
            raise UsageRejected(code, detail, is_final=code == "meter_archived")
        return f"mev_{hashlib.sha256(key.encode()).hexdigest()[:24]}"


def _read_word(token: str) -> str | None:
    """Return what a test token says, without prefix, brand of a declined card and punctuation; None for others."""
    prefix = next((each for each in _PREFIXES if token.startswith(each)), None)
    if prefix is None:
        return None
    word = token.removeprefix(prefix).replace("_", "").replace("-", "").lower()
    if word not in CARDS and word.startswith("visa"):
        word = word.removeprefix("visa")
    known = word in CARDS or word in _DECLINES or word in _TIMEOUTS or word in _BANK_ACCOUNTS
    return word if known else None


def _read_ref(ref: str) -> str:
    return ref.removeprefix(_OWN_PREFIX).partition("_")[0] if ref.startswith(_OWN_PREFIX) else ""


def _find_card(word: str) -> Mapping[str, Any]:
    if word in _DECLINES:
        return _card("visa", _DECLINES[word][1])
    return _card("visa", "3220") if word in _TIMEOUTS else CARDS.get(word, {})
