"""
Tax rates: which ones a place asks for on a day.

Source: contract chapter Tax.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from django.db.models import QuerySet

from billing_site.kernel.errors import NotFound
from catalog.models import TaxRate
from catalog.queries.revisions import DEFAULT_ORG


def normalise_place(country: str, state: str) -> tuple[str, str]:
    """Return country and state as rates have them: `us`, `us-ca` is `US`, `CA`."""
    code, region = country.strip().upper(), state.strip().upper()
    return code, region.removeprefix(f"{code}-") if code else region


def list_tax_rates(*, org_id: str, country: str = "", state: str = "") -> QuerySet[TaxRate]:
    """Return the rates of the organization and the shared ones that were not ended, past and coming ones included."""
    rates = TaxRate.objects.filter(org_id__in={org_id, DEFAULT_ORG}, ended_on__isnull=True)
    code, region = normalise_place(country, state)
    if code:
        rates = rates.filter(country=code)
    return rates.filter(state=region) if region else rates


def get_tax_rate(*, org_id: str, reference: str) -> TaxRate:
    """
    Return a rate of the organization that was not ended, by public id.

    :raises NotFound: if there is none.
    """
    key = TaxRate.parse_id(reference)
    rate = None if key is None else TaxRate.objects.filter(pk=key, org_id=org_id, ended_on__isnull=True).first()
    if rate is None:
        raise NotFound("tax_rate")
    return rate


def choose_rates(rates: Iterable[TaxRate], *, country: str, state: str, on: date) -> list[TaxRate]:
    """
    Return the rates among `rates` that apply at a place on a day; they add up. Those of the country come first.

    A rate matches when its country is the place's and its state is empty or the place's. Every combinable one applies;
    of the others only one does: that of the most specific place, then the default, then the latest to begin.
    """
    code, region = normalise_place(country, state)
    matching = [
        rate for rate in rates if rate.country == code and rate.state in ("", region) and rate.holds_on(on) and code
    ]
    chosen = [rate for rate in matching if rate.combinable]
    alone = [rate for rate in matching if not rate.combinable]
    if alone:
        chosen.append(max(alone, key=_rank))
    return sorted(chosen, key=lambda rate: (rate.state != "", rate.id))


def _rank(rate: TaxRate) -> tuple[bool, bool, date, str]:
    return rate.state != "", rate.is_default, rate.valid_from or date.min, str(rate.id)


class TaxRateBook:
    """Rates of some organizations and the shared ones. An organization's own replace the shared ones of a country."""

    def __init__(self, rates: Iterable[TaxRate]) -> None:
        self._rates: dict[tuple[str, str], list[TaxRate]] = {}
        for rate in rates:
            self._rates.setdefault((rate.org_id, rate.country), []).append(rate)

    def choose(self, *, org_id: str, country: str, state: str, on: date) -> list[TaxRate]:
        """
        Return the rates that apply to a customer of the organization at a place on a day; see `choose_rates`.

        If the organization has rates of its own for the country on that day, the shared ones do not apply there:
        together they would tax twice.
        """
        code, _ = normalise_place(country, state)
        for owner in (org_id, DEFAULT_ORG):
            rates: Sequence[TaxRate] = self._rates.get((owner, code), ())
            if any(rate.holds_on(on) for rate in rates):
                return choose_rates(rates, country=country, state=state, on=on)
        return []


def load_tax_rates(*, org_ids: Iterable[str], countries: Iterable[str] | None = None) -> TaxRateBook:
    """Return every rate that may apply to customers of the organizations, ended ones included. One query."""
    rates = TaxRate.objects.filter(org_id__in={*org_ids, DEFAULT_ORG})
    if countries is not None:
        rates = rates.filter(country__in={normalise_place(country, "")[0] for country in countries})
    return TaxRateBook(rates)


def list_applicable(*, org_id: str, country: str, state: str, on: date) -> list[TaxRate]:
    """
    Return the rates that apply to a customer of the organization at a place on a day; none without a match. One query.

    Ended and expired rates still apply to the days on which they held.
    """
    book = load_tax_rates(org_ids=[org_id], countries=[country])
    return book.choose(org_id=org_id, country=country, state=state, on=on)
