"""`settings`: the policies of a story. Those that a seller carries exist; the others are refused by name."""

from __future__ import annotations

from typing import Any, Final

from billing_site.kernel.countries import is_country
from invoicing.models import RoundingRule
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.story import Settings

_TEXTS: Final = ("name", "line1", "line2", "city", "state", "postal_code", "email", "tax_id", "footer")
_PREFIX_LENGTH: Final = 20
# Policies of the format that no setting of this version carries.
NOT_YET: Final = frozenset(
    """
    alignment anchor_change cancel_unused change_when credit_unused denominator interval_change late_usage_periods
    maximum minimum pause_credit proration proration_behavior tax_rounding trial_days zero_usage
    """.split()
)


def read_settings(fields: Fields | None) -> Settings:
    """Read `settings`: `rounding`, and `seller` with what invoices say of who issues them."""
    if fields is None:
        return Settings()
    seller: dict[str, Any] = {}
    if fields.has("rounding"):
        seller["rounding"] = fields.choice("rounding", RoundingRule.values)
    block = fields.block("seller")
    if block is not None:
        seller |= _read_seller(block)
    for key in fields.list_keys():
        if key in NOT_YET:
            fields.report(key, f"the setting `{key}` is not available yet")
            fields.node_of(key)
    fields.finish()
    return Settings(seller, fields.line)


def _read_seller(fields: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {name: fields.text(name) for name in _TEXTS if fields.has(name)}
    if fields.has("rounding"):
        found["rounding"] = fields.choice("rounding", RoundingRule.values)
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
    fields.finish(not_yet=("tax_rounding",))
    return found
