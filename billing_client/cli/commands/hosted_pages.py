"""
Pages on which people enter what never goes through a command line: cards, bank accounts.

billing setup, billing portal, billing customer portal; billing payment add opens one of them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billing_client.cli.failures import CliError, misuse
from billing_client.cli.output import Document
from billing_client.cli.session import Session
from billing_client.errors import InvalidState

if TYPE_CHECKING:
    from billing_client.http import BillingClient

_API = "/api/v1/billing"
_COLUMNS = ("url", "provider", "expires_at")


def open_portal(session: Session, client: BillingClient, *, return_url: str = "") -> dict[str, Any]:
    """
    Return the portal of the account: `url`, `provider`, `expires_at`.

    :raises InvalidState: code `provider_customer_missing` where payment was never set up.
    """
    body = _make_body(session, return_url=return_url)
    account = find_named(session)
    door = f"{_API}/portal-session" if account is None else f"{_API}/stripe/portal"
    page: dict[str, Any] = client.post(door, body if account is None else {"account": account, **body})
    return page


def open_checkout(
    session: Session, client: BillingClient, *, plan: str = "", feature: str = "", return_url: str = ""
) -> dict[str, Any]:
    """
    Return the page on which payment is set up, for a plan or the cheapest one with a feature where one is named.

    :raises CliError: exit code 2 for another account without a plan: such a page is made for a plan only.
    """
    body = _make_body(session, plan_id=plan, feature=feature, return_url=return_url)
    account = find_named(session)
    if account is not None and not plan:
        raise misuse(f"the page for {account} needs --plan", hint="without it, the account's own token sets payment up")
    door = f"{_API}/checkout-session" if account is None else f"{_API}/stripe/checkout"
    page: dict[str, Any] = client.post(door, body if account is None else {"account": account, **body})
    return page


def show_page(session: Session, page: dict[str, Any]) -> None:
    """Write the address alone on a line of its own, never wrapped, so that it can be copied or piped."""
    if session.options.format == "table":
        session.output.write_text(f"{page['url']}\n")
        return
    record = [page.get(column) for column in _COLUMNS]
    session.output.write(Document(data=page, header=_COLUMNS, records=[record]))


def explain_missing_customer(session: Session, error: InvalidState) -> CliError | None:
    """Return what it means that the provider does not know the account, or None where that is not the reason."""
    if error.code != "provider_customer_missing":
        return None
    account = find_named(session)
    return CliError("billing is not set up", hint="billing setup" + (" --plan=…" if account is not None else ""))


def find_named(session: Session) -> str | None:
    """Return the account where one is named that is not the token's own subject."""
    account, claims = session.options.account, session.claims
    return None if account == claims.subject and not claims.is_internal else account


def _make_body(session: Session, **values: str) -> dict[str, str]:
    base = session.environment.get("BILLING_BASE_URL")
    if base and not values["return_url"]:
        values["return_url"] = f"{base.rstrip('/')}/billing"
    return {name: value for name, value in values.items() if value}
