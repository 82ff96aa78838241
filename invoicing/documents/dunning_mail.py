"""
The mails about invoices that could not be collected: what they say, in the language of the account.

One mail tells of every invoice of an account that failed on one day. Texts only; the templates are those of the other
mails. Plain Python: no Django, no clock. Source: contract chapter Dunning; ADR 0056.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from invoicing.documents.formats import Formats
from invoicing.documents.mail import MailText
from invoicing.documents.sheet import Block, compose_payment
from invoicing.documents.view import PaymentView
from invoicing.documents.words import Words, load_words, marked

# As the terms have them (`calculation.dunning`).
Message = Literal["failed", "retry", "last_notice", "ended", "none"]
EndState = Literal["unpaid", "cancel", "free_plan"]

# Of several invoices that whose message weighs most gives the subject.
_WEIGHTS: Final[dict[Message, int]] = {"none": 0, "failed": 1, "retry": 2, "last_notice": 3, "ended": 4}
_SUBJECTS: Final[dict[Message, str]] = {
    "failed": marked("Payment failed: invoice {number} from {seller}"),
    "retry": marked("Payment failed again: invoice {number} from {seller}"),
    "last_notice": marked("Last notice: invoice {number} from {seller}"),
    "ended": marked("Invoice {number} from {seller} was not paid"),
}
_OPENINGS: Final[dict[Message, str]] = {
    "failed": marked("We could not collect {amount} for invoice {number}."),
    "retry": marked("We tried once more to collect {amount} for invoice {number}, without success."),
    "last_notice": marked("We still could not collect {amount} for invoice {number}. This is our last notice."),
    "ended": marked("We could not collect {amount} for invoice {number} and do not try again."),
}
_UNCHARGED: Final[dict[Message, str]] = {
    "failed": marked("Invoice {number} is overdue: {amount} are still to be paid."),
    "retry": marked("Of invoice {number}, {amount} are still to be paid."),
    "last_notice": marked("Of invoice {number}, {amount} are still to be paid. This is our last notice."),
    "ended": marked("Of invoice {number}, {amount} were not paid in time."),
}
_SEVERAL: Final = marked("These invoices could not be collected:")
_THREATS: Final[dict[EndState, str]] = {
    "unpaid": marked("Otherwise your subscription is switched off then."),
    "cancel": marked("Otherwise your subscription is canceled then."),
    "free_plan": marked("Otherwise your subscription changes to the free plan then."),
}
_ENDS: Final[dict[EndState, str]] = {
    "unpaid": marked("Your subscription is switched off. It is on again as soon as the invoice is paid."),
    "cancel": marked("Your subscription is canceled. What is open remains to be paid."),
    "free_plan": marked("Your subscription has changed to the free plan. What is open remains to be paid."),
}
# By the reasons of the payment providers; what says nothing to a customer is left out.
_REASONS: Final[dict[str, str]] = {
    "insufficient_funds": marked("insufficient funds"),
    "limit_reached": marked("the limit of the card is reached"),
    "address_mismatch": marked("the billing address does not match"),
    "incorrect_cvc": marked("the security code is wrong"),
    "expired_card": marked("the card has expired"),
    "invalid_number": marked("the card number is not valid"),
    "lost_card": marked("please ask your bank"),
    "stolen_card": marked("please ask your bank"),
    "do_not_honor": marked("declined by the bank"),
    "generic_decline": marked("declined by the bank"),
    "authentication_required": marked("the bank asks you to confirm the payment"),
    "timeout": marked("the bank did not answer in time"),
}
_NEEDS_CUSTOMER: Final = "authentication_required"


@dataclass(frozen=True, slots=True)
class Reminder:
    """
    One invoice in a mail. `amount` is what remains, minor units of `currency`; days are local ones of the account.

    `next_on` is the next attempt, or the next step where no method is tried; `reason` a decline reason or empty.
    `is_charged`: a payment method is tried by itself. `is_stopped`: the one there is will not be tried again.
    """

    number: str
    amount: int
    currency: str
    message: Message
    next_on: date | None = None
    due_date: date | None = None
    reason: str = ""
    is_charged: bool = True
    is_stopped: bool = False
    has_subscription: bool = True
    end_state: EndState = "unpaid"


@dataclass(frozen=True, slots=True)
class DunningLetter:
    """What a mail is made of; `pay_url` is where to pay, or empty."""

    seller: str
    seller_email: str
    buyer: str
    locale: str
    timezone: str
    reminders: tuple[Reminder, ...]
    footer: str = ""
    pay_url: str = ""
    payment: PaymentView | None = None
    test_mode: bool = False


def write_dunning_subject(reminders: Sequence[Reminder], *, seller: str, locale: str) -> str:
    """Return the subject: that of the message that weighs most, of its first invoice."""
    first = _find_heaviest(reminders)
    return load_words(locale)(_SUBJECTS[first.message], number=first.number, seller=seller)


def compose_dunning_mail(letter: DunningLetter) -> MailText:
    """
    Return the mail about one invoice or several.

    :raises ValueError: when there is nothing to tell.
    """
    reminders = letter.reminders
    if not reminders:
        raise ValueError("no invoice to write about")
    words, first, is_one = load_words(letter.locale), _find_heaviest(reminders), len(reminders) == 1
    blocks = [] if is_one else [_describe(each, letter, words) for each in reminders]
    if letter.payment is not None and not all(each.is_charged for each in reminders):
        blocks.append(compose_payment(letter.payment, words, number=first.number))
    openings = _OPENINGS if first.is_charged else _UNCHARGED
    amount = _formats(first, letter).money_with_code(first.amount)
    return MailText(
        language=letter.locale.replace("_", "-"),
        subject=write_dunning_subject(reminders, seller=letter.seller, locale=letter.locale),
        alarm=words("Test mode: not a request for payment") if letter.test_mode else "",
        greeting=words("Hello {name},", name=letter.buyer) if letter.buyer else words("Hello,"),
        opening=words(openings[first.message], number=first.number, amount=amount) if is_one else words(_SEVERAL),
        pairs=tuple(_list_pairs(first, letter, words)) if is_one else (),
        asks=" ".join(_list_asks(first, letter, words)) if is_one else "",
        blocks=tuple(blocks),
        closing=words("Kind regards"),
        sender=tuple(filter(None, (letter.seller, letter.seller_email))),
        footer=letter.footer,
        link=(words("Pay now"), letter.pay_url) if letter.pay_url else None,
    )


def _find_heaviest(reminders: Sequence[Reminder]) -> Reminder:
    return max(reminders, key=lambda each: _WEIGHTS[each.message])


def _formats(reminder: Reminder, letter: DunningLetter) -> Formats:
    return Formats(locale=letter.locale, currency=reminder.currency, timezone=letter.timezone)


def _describe(reminder: Reminder, letter: DunningLetter, words: Words) -> Block:
    asks = _list_asks(reminder, letter, words)
    return Block(
        words("Invoice {number}", number=reminder.number),
        tuple(_list_pairs(reminder, letter, words)[1:]),
        (" ".join(asks),) if asks else (),
    )


def _list_pairs(reminder: Reminder, letter: DunningLetter, words: Words) -> list[tuple[str, str]]:
    formats = _formats(reminder, letter)
    pairs = [(words("Invoice"), reminder.number)]
    if reminder.due_date is not None:
        pairs.append((words("Due"), formats.day(reminder.due_date)))
    if reminder.reason in _REASONS:
        pairs.append((words("Declined"), words(_REASONS[reminder.reason])))
    if reminder.next_on is not None and reminder.is_charged and not reminder.is_stopped:
        pairs.append((words("Next attempt"), formats.day(reminder.next_on)))
    pairs.append((words("Amount due"), formats.money_with_code(reminder.amount)))
    return pairs


def _list_asks(reminder: Reminder, letter: DunningLetter, words: Words) -> list[str]:
    """Return what the reader is to do, and what follows otherwise."""
    if reminder.message == "ended" or reminder.next_on is None:
        if not reminder.has_subscription:
            return [words("What is open remains to be paid.")]
        return [words(_ENDS[reminder.end_state])]
    day = _formats(reminder, letter).day(reminder.next_on)
    found = []
    if not reminder.is_charged:
        found.append(words("Please pay by {day}.", day=day))
    elif reminder.is_stopped:
        found.append(words("This payment method is not tried again. Please store another one: it is charged at once."))
    elif reminder.reason == _NEEDS_CUSTOMER:
        found.append(words("Please confirm the payment, or store another payment method."))
    elif reminder.message == "last_notice":
        found.append(words("We try a last time on {day}. Please see to it that the payment can go through.", day=day))
    else:
        found.append(words("We try again on {day}. You may also store another payment method.", day=day))
    if reminder.message == "last_notice" and reminder.has_subscription:
        if reminder.is_stopped or reminder.reason == _NEEDS_CUSTOMER:
            found.append(words("That is possible until {day}.", day=day))
        found.append(words(_THREATS[reminder.end_state]))
    return found
