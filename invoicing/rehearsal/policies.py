"""`settings`: the policies of a story. Most are its seller's; those of no version yet are refused by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from accounts.models import MAX_GRACE_HOURS, Alignment, InvoiceGrouping
from accounts.services.subscriptions import MAX_TRIAL_DAYS
from billing_site.kernel.countries import is_country
from catalog.models import ProrationBasis, ProrationUnit
from invoicing.models import IntervalChange, PauseCredit, RoundingRule, TaxMode, UnusedTime
from invoicing.models.seller import MAX_LATE_PERIODS
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.story import Settings

# What a story has where it does not say otherwise: its amounts are what they are, nothing is held back.
DEFAULTS: Final[Mapping[str, Any]] = {"review_factor": None, "review_negative": False}
_TEXTS: Final = ("name", "line1", "line2", "city", "state", "postal_code", "email", "tax_id", "footer")
_PREFIX_LENGTH: Final = 20
# Policies of the format that no setting of this version carries.
NOT_YET: Final = frozenset(
    """
    anchor_change change_when credit_unused maximum minimum proration_behavior zero_usage
    """.split()
)
# The word of a story, the column of the seller, and its choices.
_POLICIES: Final[dict[str, tuple[str, Collection[str]]]] = {
    "rounding": ("rounding", RoundingRule.values),
    "tax_rounding": ("tax_mode", TaxMode.values),
    "proration": ("proration_unit", ProrationUnit.values),
    "denominator": ("proration_basis", ProrationBasis.values),
    "alignment": ("alignment", Alignment.values),
    "interval_change": ("interval_change", IntervalChange.values),
    "pause_credit": ("pause_credit", PauseCredit.values),
    "cancel_unused": ("cancel_unused", UnusedTime.values),
    "invoice_grouping": ("invoice_grouping", InvoiceGrouping.values),
}


def read_settings(fields: Fields | None) -> Settings:
    """Read `settings`: the policies by name, `trial_days`, and `seller` with what invoices say of who issues them."""
    if fields is None:
        return Settings()
    seller: dict[str, Any] = {}
    for word, (column, choices) in _POLICIES.items():
        if fields.has(word):
            seller[column] = fields.choice(word, choices)
    gated = fields.flag("payment_gated")
    if gated is not None:
        seller["payment_gated"] = gated
    seller |= _read_review(fields.block("review"))
    late_periods = fields.integer("late_usage_periods", least=0, most=MAX_LATE_PERIODS)
    if late_periods is not None:
        seller["late_usage_periods"] = late_periods
    grace_hours = fields.integer("grace_hours", least=0, most=MAX_GRACE_HOURS)
    if grace_hours is not None:
        seller["grace_hours"] = grace_hours
    trial_days = fields.integer("trial_days", least=0, most=MAX_TRIAL_DAYS)
    block = fields.block("seller")
    if block is not None:
        seller |= _read_seller(block)
    for key in fields.list_keys():
        if key in NOT_YET:
            fields.report(key, f"the setting `{key}` is not available yet")
            fields.node_of(key)
    fields.finish()
    return Settings(seller, fields.line, trial_days)


def _read_review(fields: Fields | None) -> dict[str, Any]:
    """Read what a run holds back for review."""
    if fields is None:
        return {}
    found: dict[str, Any] = {}
    if fields.has("factor"):
        found["review_factor"] = fields.decimal("factor")
    negative = fields.flag("negative")
    if negative is not None:
        found["review_negative"] = negative
    amounts = fields.block("amounts")
    if amounts is not None:
        found["review_amounts"] = {name: amounts.integer(name, least=0) for name in amounts.list_keys()}
        amounts.finish()
    fields.finish()
    return found


def _read_seller(fields: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {name: fields.text(name) for name in _TEXTS if fields.has(name)}
    if fields.has("rounding"):
        found["rounding"] = fields.choice("rounding", RoundingRule.values)
    if fields.has("tax_rounding"):
        found["tax_mode"] = fields.choice("tax_rounding", TaxMode.values)
    if fields.has("voiding_allowed"):
        found["voiding_allowed"] = fields.flag("voiding_allowed") is True
    if fields.has("due_days"):
        found["due_days"] = fields.integer("due_days", least=0, most=365)
    if fields.has("invoice_prefix"):
        found["invoice_prefix"] = fields.text("invoice_prefix")
        if len(found["invoice_prefix"]) > _PREFIX_LENGTH:
            fields.report("invoice_prefix", f"`invoice_prefix` has at most {_PREFIX_LENGTH} characters")
    if fields.has("country"):
        found["country"] = fields.text("country").upper()
        if not is_country(found["country"]):
            fields.report("country", f"`{found['country']}` is no country code such as FR")
    fields.finish()
    return found
