"""billing operator cycle …"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from billing_client.cli.commands.shared import show_money
from billing_client.cli.failures import FAILURE, CliError, misuse
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import BillingError

app = make_app()

_COLUMNS = ("org_id", "account_id", "subscription_id", "invoice_id", "success", "error")


@app.command("run")
def run_cycle(
    context: typer.Context,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every organization; needs a token without org.")] = False,
    org: Annotated[str, typer.Option(help="The organization, where the token names none.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be issued.")] = False,
    limit: Annotated[int, typer.Option(help="Most subscriptions in this call.", min=1)] = 200,
    at: Annotated[str, typer.Option(help="Treat this instant as now; test mode only.")] = "",
) -> None:
    """Renew what is due: of the organization, of one account (--account), or of all."""
    session = Session.of(context)
    # Only an account that is named here narrows the run: one left in the environment must not.
    account = session.options.account if session.options.account_given else None
    if sum((every, account is not None, bool(org))) > 1:
        raise misuse("--all, --account and --org exclude each other")
    body: dict[str, Any] = {"limit": limit, "dry_run": dry_run}
    if at:
        body["at"] = at
    door = "run"
    if every:
        door = "run-all"
    elif account is not None:
        door, body["account"] = "run-user", account
    elif org:
        body["org_id"] = org
    with session.connect("billing:money", caller="operator") as client:
        try:
            answer = client.post(f"/api/v1/billing/cycle/{door}", body)
        except BillingError as error:
            if any(finding.pointer == "/org_id" for finding in error.findings):
                raise CliError(error.detail, hint="--org names it; or --account, or --all") from error
            raise
    results = _list_results(answer, every=every)
    session.output.write(_render(answer, results, dry_run=dry_run))
    failed = sum(not result["success"] for result in results)
    if failed:
        raise CliError(f"{failed} of {len(results)} subscriptions failed; the others are done", exit_code=FAILURE)


@app.callback()
def _group() -> None:
    """Keeps this a group although it holds one command."""


def _list_results(answer: dict[str, Any], *, every: bool) -> list[dict[str, Any]]:
    if not every:
        return list(answer.get("results") or [])
    return [
        {"org_id": org["org_id"], **result}
        for org in answer.get("results") or []
        for result in org.get("results") or []
    ]


def _render(answer: dict[str, Any], results: list[dict[str, Any]], *, dry_run: bool) -> Document:
    rows = [
        [
            result.get("account_id"),
            result.get("subscription_id"),
            _show_outcome(result, dry_run=dry_run),
            result.get("error") or "",
        ]
        for result in results
    ]
    processed = answer.get("processed", answer.get("total_processed", 0))
    after = [f"{processed} {'would be ' if dry_run else ''}processed"]
    if answer.get("remaining"):
        after.append(f"{answer['remaining']} are due and left for the next call")
    return Document(
        data=answer,
        tables=[Table(["Account", "Subscription", "Invoice", "Error"], rows)] if rows else [],
        after=after,
        header=_COLUMNS,
        records=[[_plain(result.get(column)) for column in _COLUMNS] for result in results],
    )


def _show_outcome(result: dict[str, Any], *, dry_run: bool) -> str:
    if dry_run and result.get("amount") is not None:
        return show_money(result["amount"], result.get("currency"))
    return str(result.get("invoice_id") or ("-" if result.get("success") else "failed"))


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
