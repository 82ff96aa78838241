"""Reading Stripe's objects: ids that may be expanded, instants, what we told about ourselves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

ACCOUNT: Final = "billing_account_id"
PAYMENT: Final = "billing_payment_intent_id"
SETUP: Final = "billing_setup_intent_id"
REFUND: Final = "billing_refund_id"
PAYOUT: Final = "billing_payout_id"
SESSION: Final = "billing_session_id"
_OWN: Final = frozenset({ACCOUNT, PAYMENT, SETUP, REFUND, PAYOUT, SESSION})
_MOST, _LONGEST_NAME, _LONGEST_VALUE = 50, 40, 500
CARD_FIELDS: Final = ("brand", "last4", "exp_month", "exp_year", "funding", "country")


def name_ours(own: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    """
    Return metadata for an object: who it belongs to, then what was given as far as Stripe takes it.

    Nothing that was given can pass for ours. Stripe keeps 50 entries of 40 and 500 characters; what does not fit is
    left out, for our own row has it.
    """
    ours = {name: value for name, value in own.items() if value}
    for name, value in given.items():
        text = value if isinstance(value, str) else ""
        fits = 0 < len(name) <= _LONGEST_NAME and 0 < len(text) <= _LONGEST_VALUE and not set("[]") & set(name)
        if name not in _OWN and fits and len(ours) < _MOST:
            ours[name] = text
    return ours


def read_id(value: Any) -> str:
    """Return the id of something that may be expanded, or empty."""
    if isinstance(value, Mapping):
        return str(value.get("id") or "")
    return str(value or "")


def read_object(value: Any) -> Mapping[str, Any]:
    """Return something that may be expanded; empty where it is not."""
    return value if isinstance(value, Mapping) else {}


def read_instant(value: Any) -> datetime | None:
    """Return the instant of a Unix time, or None."""
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int) else None


def read_metadata(value: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of an object."""
    return {name: str(text) for name, text in (value.get("metadata") or {}).items()}


def read_card(method: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may be shown of a card; empty for something else."""
    card = read_object(method.get("card"))
    return {name: card[name] for name in CARD_FIELDS if card.get(name) is not None}


def read_bank_account(method: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may be shown of a bank account; empty for something else."""
    account = read_object(method.get("us_bank_account")) or read_object(method.get("sepa_debit"))
    shown = {
        "bank_name": account.get("bank_name") or account.get("bank_code"),
        "last4": account.get("last4"),
        "account_type": account.get("account_type"),
        "country": account.get("country"),
    }
    return {name: value for name, value in shown.items() if value}


def read_type(method: Mapping[str, Any]) -> str:
    """Return our type of a method: everything that is no bank account is kept as a card is."""
    return "bank_account" if method.get("type") in ("us_bank_account", "sepa_debit") else "card"
