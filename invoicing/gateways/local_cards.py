"""
The cards of the local provider: what each test token stands for, and what becomes of it.

Test tokens such as `tok_visa` and `pm_card_visa` stand for a new card each time; those in `DECLINES` are stored and
then declined, those in `REFUSED_LATER` verified and then declined when they are to pay; `tok_timeout` never answers.
Anything else is taken for the name of a method that works and of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from invoicing.gateways.declines import DeclineReason

PREFIXES: Final = ("tok_", "btok_", "pm_card_", "pm_")
OWN_PREFIX: Final = "pm_local_"


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
    "failsonrenewal": _card("visa", "0341"),
    "authenticationrequired": _card("visa", "3155"),
    "chargetimeout": _card("visa", "3238"),
    "succeedslate": _card("visa", "3246"),
    "disputelater": _card("visa", "0259"),
    "refundfails": _card("visa", "5126"),
    "refundpending": _card("visa", "7726"),
    "chargecustomerfail": _card("visa", "0341"),
    "expiredlater": _card("visa", "0069"),
    "lostlater": _card("visa", "9987"),
    "insufficientlater": _card("visa", "9995"),
}
BANK_ACCOUNTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "us": {"bank_name": "Test Bank", "last4": "6789", "account_type": "checking"},
    "usfails": {"bank_name": "Test Bank", "last4": "1116", "account_type": "checking"},
    "uspending": {"bank_name": "Test Bank", "last4": "1117", "account_type": "checking"},
    "ustimeout": {"bank_name": "Test Bank", "last4": "1118", "account_type": "checking"},
    "usverified": {"bank_name": "Test Bank", "last4": "6789", "account_type": "checking"},
}
DECLINES: Final[Mapping[str, tuple[str, str]]] = {
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
# Verified like any other, and declined when it is to pay.
REFUSED_LATER: Final[Mapping[str, str]] = {
    "chargecustomerfail": DeclineReason.GENERIC,
    "expiredlater": DeclineReason.EXPIRED_CARD,
    "lostlater": DeclineReason.LOST_CARD,
    "insufficientlater": DeclineReason.INSUFFICIENT_FUNDS,
}
TIMEOUTS: Final = frozenset({"timeout"})
TEST_CARDS: Final = (*CARDS, *DECLINES, *TIMEOUTS)
"""What may follow `tok_` for a card."""


def read_word(token: str) -> str | None:
    """Return what a test token says, without prefix, brand of a declined card and punctuation; None for others."""
    prefix = next((each for each in PREFIXES if token.startswith(each)), None)
    if prefix is None:
        return None
    word = token.removeprefix(prefix).replace("_", "").replace("-", "").lower()
    if word not in CARDS and word.startswith("visa"):
        word = word.removeprefix("visa")
    known = word in CARDS or word in DECLINES or word in TIMEOUTS or word in BANK_ACCOUNTS
    return word if known else None


def read_ref(ref: str) -> str:
    return ref.removeprefix(OWN_PREFIX).partition("_")[0] if ref.startswith(OWN_PREFIX) else ""


def find_card(word: str) -> Mapping[str, Any]:
    if word in DECLINES:
        return _card("visa", DECLINES[word][1])
    return _card("visa", "3220") if word in TIMEOUTS else CARDS.get(word, {})
