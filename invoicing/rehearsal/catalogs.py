"""The catalog of a story: a document, with coupons and tax rates beside it. Mistakes in it keep their lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import yaml

from billing_site.kernel.actors import Actor
from catalog.documents.parsing import DocumentUnreadable, parse_document
from catalog.models import DiscountType
from catalog.services.coupons import create_coupon
from catalog.services.documents import check_document
from catalog.services.publishing import publish_document
from catalog.services.tax_rates import create_tax_rate
from invoicing.rehearsal.fields import Fields, parse_day
from invoicing.rehearsal.marks import FileUnreadable, Mistakes, compose, find_line, to_plain

BESIDE: Final = ("coupons", "tax_rates")


@dataclass(frozen=True, slots=True)
class CouponLine:
    """A coupon and the line it stands on."""

    line: int
    terms: dict[str, Any]

    def create(self, *, org_id: str, at: datetime, actor: Actor) -> None:
        """:raises DomainError: as the service does."""
        create_coupon(org_id=org_id, at=at, actor=actor, **self.terms)


@dataclass(frozen=True, slots=True)
class TaxRateLine:
    """A tax rate and the line it stands on."""

    line: int
    terms: dict[str, Any]

    def create(self, *, org_id: str, at: datetime, actor: Actor) -> None:
        """:raises DomainError: as the service does."""
        create_tax_rate(org_id=org_id, at=at, actor=actor, **self.terms)


@dataclass(frozen=True, slots=True)
class CatalogBlock:
    """A catalog document with what a story defines beside it."""

    line: int
    document: Any
    beside: Sequence[CouponLine | TaxRateLine] = ()

    def publish(self, *, org_id: str, at: datetime, actor: Actor) -> int:
        """
        Publish the document alone and return the active revision.

        :raises DomainError: as the service does.
        """
        result = publish_document(org_id=org_id, document=self.document, at=at, actor=actor, reason="Rehearsal")
        return result.revision.revision


def read_catalog(fields: Fields, folder: Path) -> CatalogBlock:
    """Read a catalog block: the document itself, or `file` with its path beside the story."""
    rates = [_read_tax_rate(each) for each in fields.blocks("tax_rates", "tax_rate")]
    coupons = [_read_coupon(each) for each in fields.blocks("coupons", "coupon")]
    if fields.has("file"):
        document = _read_file(fields, folder)
        fields.finish()
    else:
        document = _read_inline(fields)
    return CatalogBlock(fields.line, document, [*rates, *coupons])


def _read_inline(fields: Fields) -> Any:
    node = yaml.MappingNode(
        tag=fields.node.tag,
        value=[(key, value) for key, value in fields.node.value if key.value not in BESIDE],
        start_mark=fields.node.start_mark,
    )
    document = to_plain(node, fields.mistakes)
    for finding in check_document(document):
        where = f"{finding.pointer}: " if finding.pointer else ""
        fields.mistakes.add(find_line(node, finding.pointer), f"catalog {where}{finding.detail}")
    return document


def _read_file(fields: Fields, folder: Path) -> Any:
    path = folder / fields.text("file", required=True)
    document: Any = {}
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() in (".yaml", ".yml"):
            document = to_plain(compose(text), fields.mistakes)
        else:
            document = parse_document(text)
    except OSError as error:
        fields.report("file", f"{path} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        fields.report("file", f"{path} is not UTF-8 text")
    except DocumentUnreadable as error:
        fields.report("file", f"{path}: {error}")
    except FileUnreadable as error:
        for mistake in error.mistakes:
            fields.report("file", f"{path}, line {mistake.line}: {mistake.what}")
    else:
        for finding in check_document(document):
            fields.report("file", f"{path} {finding.pointer}: {finding.detail}")
    return document


def _read_coupon(fields: Fields) -> CouponLine:
    """`value` is a percent, or whole minor units of `currency`, as in the contract."""
    key = "discount_type" if fields.has("discount_type") else "type"
    value = "discount_value" if fields.has("discount_value") else "value"
    terms: dict[str, Any] = {
        "code": fields.text("code", required=True),
        "discount_type": fields.choice(key, DiscountType.values, required=True),
        "discount_value": fields.decimal(value, required=True) or Decimal(0),
        "currency": fields.text("currency"),
        "description": fields.text("description"),
        "max_redemptions": fields.integer("max_redemptions", least=1),
        "duration_months": fields.integer("duration_months", least=1),
        "starts_at": fields.instant("starts_at"),
        "expires_at": fields.instant("expires_at"),
        "applicable_plan_ids": fields.texts("plans" if fields.has("plans") else "applicable_plan_ids"),
    }
    fields.finish()
    return CouponLine(fields.line, terms)


def _read_tax_rate(fields: Fields) -> TaxRateLine:
    """`rate` is a fraction: 0.20 is 20 %."""
    terms: dict[str, Any] = {
        "name": fields.text("name", required=True),
        "rate": fields.decimal("rate", required=True) or Decimal(0),
        "country": fields.text("country", required=True),
        "state": fields.text("state"),
        "code": fields.text("code"),
        "inclusive": bool(fields.flag("inclusive")),
        "combinable": fields.flag("combinable") is not False,
        "is_default": bool(fields.flag("is_default")),
        "valid_from": _read_day(fields, "valid_from"),
        "valid_to": _read_day(fields, "valid_to"),
    }
    fields.finish()
    return TaxRateLine(fields.line, terms)


def _read_day(fields: Fields, key: str) -> date | None:
    text = fields.text(key)
    day = parse_day(text)
    if text and day is None:
        fields.report(key, f"`{key}` is a day such as 2024-03-01")
    return day


def read_catalog_mapping(fields: Fields | None, folder: Path, mistakes: Mistakes, line: int) -> CatalogBlock:
    """Read the catalog of a story; one that is missing is a mistake."""
    if fields is None:
        mistakes.add(line, "the story needs a `catalog`: a catalog document, or {file: catalog.json}")
        return CatalogBlock(line, {})
    return read_catalog(fields, folder)
