"""
All checks of a catalog document, reported at once.

First what forbids a closer look (secrets, what cannot be stored), then every entry for itself, then what entries say
about each other. Source: contract chapter Catalog document.
"""

from __future__ import annotations

from collections.abc import Collection

from billing_site.kernel.money import CURRENCIES
from catalog.documents.entries import read_meter, read_plan, read_product
from catalog.documents.findings import Collector, Findings
from catalog.documents.index import DocumentIndex
from catalog.documents.prices import read_flat_price
from catalog.documents.reading import ObjectReader
from catalog.documents.references import check_references
from catalog.documents.screening import screen_document
from catalog.documents.vocabulary import MAX_ENTRIES, SCHEMA_KEY, SCHEMA_VERSION, TOP_KEYS


def validate_document(raw: object, *, currencies: Collection[str] = CURRENCIES) -> Findings:
    """
    Return everything that is wrong with a document; empty findings mean that it can be published.

    `raw` is parsed JSON. When something in it looks like a secret, only that is reported.
    Source: contract chapter Catalog document.
    """
    screened = screen_document(raw)
    if not screened.is_valid:
        return screened
    findings = Collector()
    if not isinstance(raw, dict):
        findings.add("", "not_an_object", "A catalog document is a JSON object.")
        return findings.collect()
    document = ObjectReader(raw, "", findings)
    document.check_keys(TOP_KEYS)
    document.text(SCHEMA_KEY, max_length=1_000)
    if document.has("version") and (type(raw["version"]) is not int or raw["version"] != SCHEMA_VERSION):
        document.report("version", "version_unsupported", f"This must be {SCHEMA_VERSION}.")
    # The flat provider form has its prices here and may do without plans and meters.
    is_flat = document.has("prices")
    index = DocumentIndex()
    for reader in document.objects("products", most=MAX_ENTRIES["products"], required=True):
        read_product(reader, index)
    for reader in document.objects("meters", most=MAX_ENTRIES["meters"], required=not is_flat):
        read_meter(reader, index)
    for reader in document.objects("plans", most=MAX_ENTRIES["plans"], required=not is_flat):
        read_plan(reader, index, currencies)
    for reader in document.objects("prices", most=MAX_ENTRIES["prices"]):
        read_flat_price(reader, index, currencies)
    check_references(index, findings)
    return findings.collect()
