"""The journal of a month, downloaded from the page of the seller that books it."""

from __future__ import annotations

import uuid
from datetime import date
from itertools import chain
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.text import slugify

from billing_site.backoffice.page_links import PageLink, register_page_link
from billing_site.kernel import clock
from billing_site.kernel.csv_text import write_lines
from billing_site.kernel.periods import add_months
from invoicing.models import Seller
from invoicing.queries.journal import JOURNAL_COLUMNS, stream_journal

PERMISSION = "accounts.view_ledgerentry"


class JournalPage:
    """Adds the download to the admin of sellers."""

    admin_site: Any

    def get_urls(self) -> list[URLPattern]:
        journal = self.admin_site.admin_view(self.download_journal)
        own = path("<uuid:seller_id>/journal/", journal, name="invoicing_seller_journal")
        return [own, *super().get_urls()]  # type: ignore[misc]

    def download_journal(self, request: HttpRequest, seller_id: uuid.UUID) -> HttpResponseBase:
        """Answer the journal of `month` (YYYY-MM; last month without one) as CSV, as it comes from the database."""
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        seller = get_object_or_404(Seller, pk=seller_id)
        month = _read_month(request.GET.get("month", ""))
        if month is None:
            return HttpResponse("A month is written like 2026-10.", status=400, content_type="text/plain")
        rows = (row.as_cells() for row in stream_journal(org_id=seller.org_id, month=month, seller_id=seller.pk))
        lines = write_lines(chain([list(JOURNAL_COLUMNS)], rows))
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        name = f"journal-{slugify(seller.org_id)}-{slugify(seller.invoice_prefix)}-{month:%Y-%m}.csv"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


def _read_month(text: str) -> date | None:
    """Return the first day of `YYYY-MM`, of last month for nothing, None for anything else."""
    if not text:
        return add_months(clock.now().date().replace(day=1), -1)
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        return None


def _link_to_journal(seller: Seller) -> PageLink:
    return PageLink("Journal of last month", reverse("admin:invoicing_seller_journal", args=[seller.pk]), "menu_book")


register_page_link("invoicing.seller", _link_to_journal, name="invoicing.journal", permission=PERMISSION)
