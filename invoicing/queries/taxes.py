"""
The tax of invoices: where an account is taxed, by which rates, and why not. Loaded once for many invoices.

Source: contract chapter Tax; policies, rule 21; ADR 0038.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import NamedTuple, cast

from django.conf import settings

from accounts.models import Account
from accounts.services.tax_ids import UNION, is_business_number
from billing_site.kernel.periods import Period, local_date
from catalog.models import TaxRate
from catalog.queries.tax_rates import TaxRateBook, load_tax_rates, normalise_place
from invoicing.calculation.draft import find_tax_day
from invoicing.calculation.facts import InvoiceFacts
from invoicing.calculation.taxes import (
    TaxFacts,
    TaxMode,
    TaxRateFacts,
    TaxSpan,
    TaxTreatment,
    decide_treatment,
    make_zero_rate,
)
from invoicing.models import Seller


class TaxPlace(NamedTuple):
    """A place as rates name it: ISO country and state without its country, in upper case, each perhaps empty."""

    country: str
    state: str

    @property
    def jurisdiction(self) -> str:
        """The place as documents name it: `US-CA`, `DE`."""
        return f"{self.country}-{self.state}" if self.state and self.country else self.country


@dataclass(slots=True)
class Taxes:
    """The rates of some organizations in some countries, ready to be asked for one invoice after the other."""

    book: TaxRateBook
    _known: dict[tuple[str, TaxPlace, tuple[date, ...]], tuple[TaxSpan, ...]] = field(default_factory=dict)
    _numbers: dict[tuple[str, str], bool] = field(default_factory=dict)

    def make_facts(
        self,
        account: Account,
        seller: Seller,
        *,
        on: date,
        periods: Iterable[Period],
        place: TaxPlace | None = None,
    ) -> TaxFacts | None:
        """
        Return what an invoice of the day `on` is taxed by, with charges for `periods`; None when no place is known.

        A charge bears the rates of the day on which its period is complete, or those of the invoice's day when that is
        earlier. `place` is the account's own unless another is given. No query.
        """
        place = place or find_place(account)
        if not place.country and not account.tax_exempt:
            return None
        treatment = self._decide(account, seller, place)
        if treatment != "taxed":
            spans: tuple[TaxSpan, ...] = (TaxSpan(None, (make_zero_rate(treatment, place.jurisdiction),)),)
        else:
            days = tuple(sorted({min(on, find_tax_day(period, account.zone)) for period in periods})) or (on,)
            spans = self._find_spans(account.org_id, place, days)
        return TaxFacts(cast(TaxMode, seller.tax_mode), place.country, place.state, on, treatment, spans)

    def _decide(self, account: Account, seller: Seller, place: TaxPlace) -> TaxTreatment:
        number = (account.tax_id, account.country)
        if number not in self._numbers:
            self._numbers[number] = is_business_number(account.tax_id, country=account.country)
        return decide_treatment(
            country=place.country,
            seller_country=seller.country,
            has_business_number=self._numbers[number] and account.country == place.country,
            is_exempt=account.tax_exempt,
            union=settings.BILLING_TAX_UNION or UNION,
        )

    def _find_spans(self, org_id: str, place: TaxPlace, days: tuple[date, ...]) -> tuple[TaxSpan, ...]:
        key = (org_id, place, days)
        found = self._known.get(key)
        if found is None:
            spans: list[TaxSpan] = []
            for day in days:
                rates = self.book.choose(org_id=org_id, country=place.country, state=place.state, on=day)
                span = TaxSpan(day if spans else None, tuple(map(_read_rate, rates)))
                if not spans or spans[-1].rates != span.rates:
                    spans.append(span)
            found = self._known[key] = tuple(spans)
        return found


def find_place(account: Account) -> TaxPlace:
    """Return where an account is taxed: at its address."""
    return TaxPlace(*normalise_place(account.country, account.state))


def load_taxes(accounts: Iterable[Account], *, countries: Iterable[str] = ()) -> Taxes:
    """
    Return the rates for invoices of the accounts, in their own countries and in `countries`.

    One query, none when no country is known.
    """
    accounts = list(accounts)
    wanted = {country for country in (*(account.country for account in accounts), *countries) if country}
    if not wanted:
        return Taxes(TaxRateBook([]))
    return Taxes(load_tax_rates(org_ids={account.org_id for account in accounts}, countries=wanted))


def with_tax(
    facts: InvoiceFacts, *, account: Account, seller: Seller, at: datetime, place: TaxPlace | None = None
) -> InvoiceFacts:
    """
    Return the facts with the tax of their charges: at `place`, else where they were taxed before, else where it lives.

    They keep the day for which they were taxed before; a new invoice has that of `at`. One query.
    """
    on = local_date(at, account.zone)
    if facts.tax is not None:
        on = facts.tax.on
        if place is None and facts.tax.country:
            place = TaxPlace(facts.tax.country, facts.tax.state)
    taxes = load_taxes([account], countries=[place.country] if place is not None else [])
    periods = [charge.period for charge in facts.charges]
    return replace(facts, tax=taxes.make_facts(account, seller, on=on, periods=periods, place=place))


def _read_rate(rate: TaxRate) -> TaxRateFacts:
    return TaxRateFacts(rate.public_id, rate.name, rate.rate, rate.inclusive, rate.jurisdiction)
