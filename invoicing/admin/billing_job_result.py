"""What was asked of a job and what it came to, in words and tables."""

from __future__ import annotations

from typing import Any, Final

from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from billing_site.backoffice.display import NOTHING, link_to_id, money
from invoicing.models import BillingJob, JobFormat, JobKind, JobStatus

_WORDS: Final = {
    "as_of": "as of",
    "period": "month",
    "prices": "prices of",
    "report": "",
    "month": "",
    "start": "from",
    "end": "to",
    "currency": "in",
}
_CLEAN: Final = {
    JobKind.DRY_RUN.value: "Nothing would be held for review, and nothing would fail.",
    JobKind.SHADOW.value: "Every invoice comes out the same, to the cent.",
}


def describe_request(job: BillingJob) -> str:
    """Return what was asked for in a few words."""
    words = [job.org_id or "all organizations"] if job.account is None else [str(job.account)]
    for name, word in _WORDS.items():
        if value := job.parameters.get(name):
            words.append(f"{word} {value[:10] if name == 'as_of' else value}".strip())
    if job.parameters.get("detailed"):
        words.append("single events")
    if count := len(job.parameters.get("accounts", [])):
        words.append(f"{count} account{'' if count == 1 else 's'}")
    return ", ".join([*words, JobFormat(job.file_format).label])


def describe_outcome(job: BillingJob) -> str:
    """Return what a job came to, in one sentence."""
    match job.status:
        case JobStatus.FAILED:
            return job.error_detail
        case JobStatus.CANCELED:
            return "Called off."
        case JobStatus.SUCCEEDED:
            counts = job.summary.get("counts", [])
            return "; ".join(f"{name}: {count:,}" for place, (name, count) in enumerate(counts) if count or not place)
    return NOTHING


def render_result(job: BillingJob) -> SafeString:
    """Return the summary: counts, totals by currency, and what the kind lists."""
    found = job.summary
    accounts = [
        {
            "link": link_to_id(row["id"], row["name"]),
            "issued": money(row["issued"], row["currency"]),
            "would_be": money(row["would_be"], row["currency"]),
            "difference": _difference(row),
        }
        for row in found.get("accounts", [])
    ]
    findings = found.get("findings", [])
    is_what_if = job.kind == JobKind.WHAT_IF
    context = {
        "counts": [(name, f"{count:,}") for name, count in found.get("counts", [])],
        "total_heads": ("Issued", "At these prices", "Difference") if is_what_if else ("Total",),
        "totals": [(row["currency"].upper(), _list_total(row, is_what_if)) for row in found.get("totals", [])],
        "accounts": accounts,
        "more_accounts": max(0, found.get("account_count", 0) - len(accounts)),
        "kept": [(reason, f"{count:,}") for reason, count in found.get("kept", [])],
        "findings": findings,
        "more_findings": max(0, found.get("finding_count", 0) - len(findings)),
        "finding_head": "Invoice" if job.kind == JobKind.SHADOW else "Account",
        "is_clean": _CLEAN.get(job.kind, ""),
    }
    return mark_safe(render_to_string("invoicing/job_result.html", context))  # noqa: S308 — escaped there


def _list_total(row: dict[str, Any], is_what_if: bool) -> list[SafeString | str]:
    if not is_what_if:
        return [money(row["amount"], row["currency"])]
    return [money(row["issued"], row["currency"]), money(row["would_be"], row["currency"]), _difference(row)]


def _difference(row: dict[str, Any]) -> SafeString | str:
    change = row["would_be"] - row["issued"]
    return format_html("{}{}", "+" if change > 0 else "", money(change, row["currency"]))
