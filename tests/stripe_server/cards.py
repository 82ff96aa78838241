"""
Test cards: the names Stripe gives them (`pm_card_visa`, `tok_chargeDeclined`) and what each of them does.

Source: Stripe's documentation, "Testing".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Authentication = Literal["", "once", "always", "on_session"]


@dataclass(frozen=True)
class Decline:
    """Why a bank says no."""

    code: str
    decline_code: str
    message: str = "Your card was declined."
    advice: str = "try_again_later"


DECLINES: Mapping[str, Decline] = {
    "generic_decline": Decline("card_declined", "generic_decline"),
    "insufficient_funds": Decline("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    "lost_card": Decline("card_declined", "lost_card", advice="do_not_try_again"),
    "stolen_card": Decline("card_declined", "stolen_card", advice="do_not_try_again"),
    "fraudulent": Decline("card_declined", "fraudulent", advice="do_not_try_again"),
    "do_not_honor": Decline("card_declined", "do_not_honor"),
    "try_again_later": Decline("card_declined", "try_again_later"),
    "card_velocity_exceeded": Decline(
        "card_declined",
        "card_velocity_exceeded",
        "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
    ),
    "expired_card": Decline("expired_card", "expired_card", "Your card has expired.", "do_not_try_again"),
    "incorrect_cvc": Decline(
        "incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.", "confirm_card_data"
    ),
    "incorrect_zip": Decline(
        "incorrect_zip", "incorrect_zip", "The zip code you supplied failed validation.", "confirm_card_data"
    ),
    "processing_error": Decline(
        "processing_error",
        "processing_error",
        "An error occurred while processing your card. Try again in a little bit.",
    ),
    "authentication_required": Decline(
        "authentication_required",
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
    ),
}


@dataclass(frozen=True)
class Card:
    """
    A test card.

    `decline` says why it is refused: when it is attached to a customer as well as when it is charged, unless
    `attaches`. `authentication` says when its holder must prove to be there: `once` until it is set up for later use,
    `always`, or `on_session` only. `refund` is what becomes of a refund (`pending` arrives later, `fails` later),
    `dispute` the reason of the dispute that follows a charge.
    """

    brand: str = "visa"
    last4: str = "4242"
    funding: str = "credit"
    country: str = "US"
    decline: Decline | None = None
    attaches: bool = False
    authentication: Authentication = ""
    refund: Literal["", "pending", "fails"] = ""
    dispute: str = ""
    is_inquiry: bool = False
    is_available_at_once: bool = False

    @property
    def fingerprint(self) -> str:
        """The same for the same number, so that duplicates are seen."""
        return hashlib.sha256(f"{self.brand}{self.last4}{self.country}".encode()).hexdigest()[:16]


def _declined(last4: str, reason: str) -> Card:
    return Card(last4=last4, decline=DECLINES[reason])


_VISA = Card()
CARDS: Mapping[str, Card] = {
    "visa": _VISA,
    "visa_debit": Card(last4="5556", funding="debit"),
    "mastercard": Card("mastercard", "4444"),
    "mastercard_debit": Card("mastercard", "8210", "debit"),
    "mastercard_prepaid": Card("mastercard", "5100", "prepaid"),
    "amex": Card("amex", "0005"),
    "discover": Card("discover", "1117"),
    "diners": Card("diners", "0004"),
    "jcb": Card("jcb", "0505", country="JP"),
    "unionpay": Card("unionpay", "0005", country="CN"),
    "us": _VISA,
    "gb": Card(last4="0000", country="GB"),
    "de": Card(last4="0007", country="DE"),
    "fr": Card(last4="0003", country="FR"),
    "jp": Card(last4="0003", country="JP"),
    "bypasspending": Card(last4="0077", is_available_at_once=True),
    "chargedeclined": _declined("0002", "generic_decline"),
    "chargedeclinedinsufficientfunds": _declined("9995", "insufficient_funds"),
    "chargedeclinedlostcard": _declined("9987", "lost_card"),
    "chargedeclinedstolencard": _declined("9979", "stolen_card"),
    "chargedeclinedexpiredcard": _declined("0069", "expired_card"),
    "chargedeclinedincorrectcvc": _declined("0127", "incorrect_cvc"),
    "chargedeclinedprocessingerror": _declined("0119", "processing_error"),
    "chargedeclinedvelocitylimitexceeded": _declined("6975", "card_velocity_exceeded"),
    "chargedeclinedfraudulent": _declined("0019", "fraudulent"),
    "radarblock": _declined("9235", "fraudulent"),
    "chargecustomerfail": Card(last4="0341", decline=DECLINES["generic_decline"], attaches=True),
    "authenticationrequired": Card(last4="3184", authentication="always"),
    "authenticationrequiredonsetup": Card(last4="3155", authentication="once"),
    "authenticationrequiredsetupforoffsession": Card(last4="0446", authentication="on_session"),
    "authenticationrequiredchargedeclinedinsufficientfunds": Card(
        last4="3178", authentication="always", decline=DECLINES["insufficient_funds"], attaches=True
    ),
    "threedsecure2required": Card(last4="3220", authentication="always"),
    "threedsecureoptional": Card(last4="3055"),
    "pendingrefund": Card(last4="7726", refund="pending"),
    "refundfail": Card(last4="5126", refund="fails"),
    "createdispute": Card(last4="0259", dispute="fraudulent"),
    "createdisputeproductnotreceived": Card(last4="2685", dispute="product_not_received"),
    "createdisputeinquiry": Card(last4="1976", dispute="fraudulent", is_inquiry=True),
}
_PREFIXES = ("pm_card_", "tok_")


def find_card(name: str) -> Card | None:
    """
    Return the card a test name stands for: `pm_card_visa`, `tok_chargeDeclined`, `pm_card_visa_chargeDeclined`.

    Letters may be large or small; `expired`, `lost`, `stolen` and `declined` are short for Stripe's longer names.
    """
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return find_behaviour(name.removeprefix(prefix))
    return None


def find_behaviour(name: str) -> Card | None:
    """Return the card that behaves as named, without the prefix of its name."""
    short = name.lower()
    known = {**CARDS, **_SHORT}
    return known.get(short) or known.get(short.removeprefix("visa_"))


_SHORT: Mapping[str, Card] = {
    "declined": CARDS["chargedeclined"],
    "insufficientfunds": CARDS["chargedeclinedinsufficientfunds"],
    "expired": CARDS["chargedeclinedexpiredcard"],
    "lost": CARDS["chargedeclinedlostcard"],
    "stolen": CARDS["chargedeclinedstolencard"],
    "visadebit": CARDS["visa_debit"],
    "mastercarddebit": CARDS["mastercard_debit"],
    "mastercardprepaid": CARDS["mastercard_prepaid"],
}


def declining(card: Card, decline_code: str | None) -> Card:
    """Return the same card with a bank that says no from now on, or (None) yes again."""
    return replace(card, decline=None if decline_code is None else DECLINES[decline_code], attaches=True)
