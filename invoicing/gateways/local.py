"""
The local provider: payments without a network, for tests, rehearsals and trying the product out. Never in live mode.

What happens depends on the card alone (`local_cards`); what it did it remembers (`local_store`), so that the same key
has one effect and what was never answered can be asked about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from billing_site.kernel.money import Money
from invoicing.gateways.local_billed import LocalBilled
from invoicing.gateways.local_cards import (
    BANK_ACCOUNTS,
    DECLINES,
    OWN_PREFIX,
    TEST_CARDS,
    TIMEOUTS,
    find_card,
    read_ref,
    read_word,
)
from invoicing.gateways.local_payments import LocalPayments
from invoicing.gateways.local_payouts import LocalPayouts
from invoicing.gateways.local_refunds import LocalRefunds
from invoicing.gateways.local_setups import LocalSetups
from invoicing.gateways.port import (
    Declined,
    Payer,
    ProviderUnavailable,
    StoredMethod,
    TokenRejected,
    UsageRejected,
    UsageReport,
)

__all__ = ["TEST_CARDS", "LocalGateway"]

USAGE_TIMEOUTS: Final = frozenset({"cus_timeout"})
"""Customers whose usage is never answered."""
USAGE_REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    "cus_unknown": ("customer_unknown", "The provider knows no customer by this name."),
    "cus_archived": ("meter_archived", "The provider's meter is archived."),
}
"""Customers whose usage is refused; the second for good."""


class LocalGateway(LocalPayments, LocalRefunds, LocalSetups, LocalPayouts, LocalBilled):
    """See the module. The name given to a stored method says what it does."""

    name = "local"

    def store_method(self, *, token: str, type: str, payer: Payer, key: str) -> StoredMethod:
        """Return the method behind a token; the same key and token give the same one."""
        word = read_word(token)
        if word is None:
            return StoredMethod(ref=token)
        is_bank_account = word in BANK_ACCOUNTS
        if is_bank_account != (type == "bank_account"):
            raise TokenRejected(f"This token names a {'bank account' if is_bank_account else 'card'}.")
        digest = hashlib.sha256(f"{key}\x1f{token}".encode()).hexdigest()[:20]
        return StoredMethod(
            ref=f"{OWN_PREFIX}{word}_{digest}", card=find_card(word), bank_account=BANK_ACCOUNTS.get(word, {})
        )

    def authorise(self, *, method_ref: str, amount: Money, key: str) -> str:
        """Decline, time out or agree, as the method's name says."""
        word = read_ref(method_ref)
        if word in TIMEOUTS:
            raise ProviderUnavailable("The payment provider did not answer in time; try again.")
        if word in DECLINES:
            raise Declined(DECLINES[word][0])
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
