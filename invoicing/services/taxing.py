"""
Tax put on a draft for a place that somebody names.

Source: contract chapter Tax; ADR 0038.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.countries import is_country
from billing_site.kernel.errors import ValidationFailed
from catalog.queries.tax_rates import normalise_place
from invoicing.models import Invoice
from invoicing.queries.taxes import TaxPlace, with_tax
from invoicing.services.draft_editing import lock_draft, read_facts, rewrite_draft


@transaction.atomic
def calculate_tax(
    *, invoice_id: uuid.UUID, country: str, at: datetime, actor: Actor, state: str = "", reason: str = ""
) -> Invoice:
    """
    Tax a draft at a place, compute it again and return it; a place without rates has none.

    The place stays the draft's own, whatever lines are added to it later. To do it again gives the same.
    :raises ValidationFailed: for an unknown country. :raises NotFound: if there is no such invoice.
    :raises InvoiceNotDraft: when it is issued or void.
    """
    place = TaxPlace(*normalise_place(country, state))
    if not is_country(place.country):
        raise ValidationFailed.of("/country", "invalid", f"{country[:10]!r} is not an ISO 3166-1 alpha-2 country code.")
    invoice = lock_draft(invoice_id)
    before = read_facts(invoice)
    facts = with_tax(before, account=invoice.account, seller=invoice.seller, at=at, place=place)
    if facts != before:
        rewrite_draft(invoice, facts, at=at, actor=actor, reason=reason)
    return invoice
