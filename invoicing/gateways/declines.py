"""
Why a payment provider refuses, in our own words: the same few reasons whoever the provider is.

Source: contract chapter Payments (decline sentences).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class DeclineReason(StrEnum):
    """The reasons an adapter maps its provider's codes to."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    LIMIT_REACHED = "limit_reached"
    ADDRESS_MISMATCH = "address_mismatch"
    INCORRECT_CVC = "incorrect_cvc"
    EXPIRED_CARD = "expired_card"
    INVALID_NUMBER = "invalid_number"
    LOST_CARD = "lost_card"
    STOLEN_CARD = "stolen_card"
    DO_NOT_HONOR = "do_not_honor"
    GENERIC = "generic_decline"
    AUTHENTICATION_REQUIRED = "authentication_required"
    TIMEOUT = "timeout"
    UNKNOWN = "unknown"


_CONTACT_BANK: Final = "The card was declined; please contact your bank."
_BY_BANK: Final = "The card was declined by the bank."
SENTENCES: Final[dict[str, str]] = {
    DeclineReason.INSUFFICIENT_FUNDS: "The card has insufficient funds.",
    DeclineReason.LIMIT_REACHED: "The card has reached its limit.",
    DeclineReason.ADDRESS_MISMATCH: "The billing address does not match the card.",
    DeclineReason.INCORRECT_CVC: "The security code is wrong.",
    DeclineReason.EXPIRED_CARD: "The card has expired.",
    DeclineReason.INVALID_NUMBER: "The card number is not valid.",
    DeclineReason.LOST_CARD: _CONTACT_BANK,
    DeclineReason.STOLEN_CARD: _CONTACT_BANK,
    DeclineReason.DO_NOT_HONOR: _BY_BANK,
    DeclineReason.GENERIC: _BY_BANK,
    DeclineReason.AUTHENTICATION_REQUIRED: "The bank asks the card holder to confirm this payment.",
    DeclineReason.TIMEOUT: "The bank did not answer in time.",
    DeclineReason.UNKNOWN: "The card could not be verified.",
}
# Trying the same card again cannot help.
PERMANENT: Final = frozenset(
    {
        DeclineReason.EXPIRED_CARD,
        DeclineReason.LOST_CARD,
        DeclineReason.STOLEN_CARD,
        DeclineReason.INVALID_NUMBER,
    }
)


def describe_decline(reason: str) -> str:
    """Return one plain sentence for a reason; one that is not known could not be verified."""
    return SENTENCES.get(reason, SENTENCES[DeclineReason.UNKNOWN])


def is_permanent(reason: str) -> bool:
    """Tell whether the card will be declined again whenever it is tried."""
    return reason in PERMANENT
