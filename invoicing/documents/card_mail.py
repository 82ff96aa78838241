"""
The mail that a stored card ends soon: what it says, in the language of the account.

Texts only; the templates are those of the other mails. Plain Python: no Django, no clock.
Source: docs/payment-methods.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from invoicing.documents.formats import Formats
from invoicing.documents.mail import MailText
from invoicing.documents.words import Words, load_words, marked

_SUBJECT: Final = marked("Your card for payments to {seller} expires soon")
_OPENING: Final = marked("The card with which you pay {seller} is good until {day}.")
_ASKS: Final = marked(
    "Please store a new card before then. If your bank renews this one by itself, there is nothing to do: we go on "
    "trying it."
)


@dataclass(frozen=True, slots=True)
class CardLetter:
    """What the mail is made of; `last_day` is the last one on which the card is good."""

    seller: str
    seller_email: str
    buyer: str
    locale: str
    brand: str
    last4: str
    last_day: date
    footer: str = ""
    test_mode: bool = False


def write_card_subject(*, seller: str, locale: str) -> str:
    """Return the subject of the mail."""
    return load_words(locale)(_SUBJECT, seller=seller)


def compose_card_mail(letter: CardLetter) -> MailText:
    """Return the mail that a card ends soon."""
    words, last_day = load_words(letter.locale), letter.last_day
    day = Formats(locale=letter.locale, currency="usd", timezone="UTC").day(last_day)
    return MailText(
        language=letter.locale.replace("_", "-"),
        subject=write_card_subject(seller=letter.seller, locale=letter.locale),
        alarm=words("Test mode: not a request for payment") if letter.test_mode else "",
        greeting=words("Hello {name},", name=letter.buyer) if letter.buyer else words("Hello,"),
        opening=words(_OPENING, seller=letter.seller, day=day),
        pairs=(
            (words("Card"), _name_card(letter, words)),
            (words("Expires"), f"{last_day:%m/%Y}"),
        ),
        asks=words(_ASKS),
        blocks=(),
        closing=words("Kind regards"),
        sender=tuple(filter(None, (letter.seller, letter.seller_email))),
        footer=letter.footer,
    )


def _name_card(letter: CardLetter, words: Words) -> str:
    brand = letter.brand[:1].upper() + letter.brand[1:] or words("Card")
    return words("{brand} ending in {last4}", brand=brand, last4=letter.last4) if letter.last4 else brand
