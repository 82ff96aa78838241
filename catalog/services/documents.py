"""From a document somebody sends to content that can be published, or to a refusal with every finding."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings

from billing_site.kernel.errors import DomainError, FieldError
from billing_site.kernel.money import CURRENCIES
from catalog.documents.content import CatalogContent
from catalog.documents.findings import DocumentInvalid, Findings
from catalog.documents.normalising import normalise_document
from catalog.documents.validation import validate_document


class CatalogInvalid(DomainError):
    code, title, status = "catalog_invalid", "The catalog document is not valid", 400


class CatalogContainsSecret(DomainError):
    code, title, status = "catalog_contains_secret", "The catalog document contains a secret", 400


def list_currencies() -> Collection[str]:
    """Return the currencies a catalog may use: those of `BILLING_CURRENCIES`, or every one."""
    return frozenset(code.strip().lower() for code in settings.BILLING_CURRENCIES) or CURRENCIES


def check_document(document: object) -> Findings:
    """Return everything that is wrong with a document here."""
    return validate_document(document, currencies=list_currencies())


def read_document(document: object) -> CatalogContent:
    """
    Return what a document says.

    :raises CatalogContainsSecret: if something in it looks like a secret; the value is not repeated.
    :raises CatalogInvalid: with every finding.
    """
    try:
        return normalise_document(document, currencies=list_currencies())
    except DocumentInvalid as refusal:
        raise refuse_document(refusal.findings) from refusal


def refuse_document(findings: Findings) -> DomainError:
    """Return the error for the findings of a document."""
    errors = [FieldError(finding.pointer, finding.code, finding.detail) for finding in findings]
    error = CatalogContainsSecret if findings.has_secret else CatalogInvalid
    first = errors[0]
    count = "One thing is" if len(errors) == 1 else f"{len(errors)} things are"
    where = first.pointer or "the document"
    return error(f"{count} wrong; first {where}: {first.detail}", errors=errors)
