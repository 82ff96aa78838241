"""Documents as admin pages show and send them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from billing_site.backoffice.actions import change_url
from invoicing.documents import InvoiceView
from invoicing.documents.logos import embed_logo
from invoicing.documents.sheet import compose_sheet
from invoicing.models import InvoiceStatus


def show_sheet(page: Any, request: HttpRequest, document: Any, view: InvoiceView) -> TemplateResponse:
    """Return the page that shows a document in the words of its file; one that was voided since is marked so."""
    if document.status == InvoiceStatus.VOID:
        view = replace(view, status="void")
    context = {
        **page.admin_site.each_context(request),
        "title": str(document),
        "opts": page.model._meta,
        "original": document,
        "sheet": compose_sheet(view, locale=view.locale),
        "language": view.locale.replace("_", "-"),
        "logo": embed_logo(view.logo),
        "back": change_url(page, document),
    }
    return TemplateResponse(request, "invoicing/sheet.html", context)


def send_pdf(content: bytes, name: str) -> HttpResponse:
    """Return a file that the browser shows; `name` is without its ending."""
    response = HttpResponse(content, content_type="application/pdf")
    response["Content-Disposition"] = f'inline; filename="{name}.pdf"'
    return response
