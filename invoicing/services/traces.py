"""The JSON of traces and snapshots, for many documents at once."""

from __future__ import annotations

from typing import Any

import msgspec

from accounts.models import Account
from billing_site.platform.models.copy_format import JsonText
from catalog.pricing.terms import PriceTerms
from invoicing.calculation.draft import Draft, DraftLine
from invoicing.calculation.facts import ChargeFacts
from invoicing.models import Seller
from invoicing.services.sellers import snapshot_seller


def _refuse(value: object) -> None:
    raise TypeError(f"a trace holds no {type(value).__name__}")


_ENCODER = msgspec.json.Encoder(enc_hook=_refuse)


def _encode(value: object) -> JsonText:
    return JsonText(_ENCODER.encode(value))


def snapshot_account(account: Account) -> dict[str, Any]:
    """Return what an invoice keeps of the account it is addressed to."""
    address = ("line1", "line2", "city", "state", "postal_code", "country")
    columns = ("name", "company", "email", *address, "tax_id", "language")
    return {"id": account.public_id} | {column: getattr(account, column) for column in columns}


class TraceTexts:
    """
    Writes traces. A price is written once for all lines at it, a charge once for its invoice and its lines.

    The shape is that of `as_dict`, which is asked for the parts one by one.
    """

    def __init__(self) -> None:
        self._prices: dict[PriceTerms, msgspec.Raw] = {}
        self._charges: dict[int, tuple[ChargeFacts, msgspec.Raw]] = {}
        self._sellers: dict[int, tuple[Seller, JsonText]] = {}

    def show_facts(self, draft: Draft) -> JsonText:
        """Return the trace of an invoice; the traces of its lines come after it."""
        self._charges = {}
        return _encode(draft.facts.as_dict(self._show_charge))

    def show_line(self, line: DraftLine) -> JsonText:
        """Return the trace of a line."""
        return _encode(line.make_trace(self._show_charge))

    def show_account(self, account: Account) -> JsonText:
        """Return what an invoice keeps of its account."""
        return _encode(snapshot_account(account))

    def show_seller(self, seller: Seller) -> JsonText:
        """Return what an invoice keeps of its seller."""
        known = self._sellers.get(id(seller))
        if known is None:
            known = self._sellers[id(seller)] = seller, _encode(snapshot_seller(seller))
        return known[1]

    def _show_charge(self, charge: ChargeFacts) -> msgspec.Raw:
        known = self._charges.get(id(charge))
        if known is None:
            text = msgspec.Raw(_ENCODER.encode(charge.as_dict(self._show_price)))
            known = self._charges[id(charge)] = charge, text
        return known[1]

    def _show_price(self, price: PriceTerms) -> msgspec.Raw:
        text = self._prices.get(price)
        if text is None:
            text = self._prices[price] = msgspec.Raw(_ENCODER.encode(price.as_dict()))
        return text
