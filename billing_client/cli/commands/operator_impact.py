"""billing operator catalog impact: what a document would do to whom, before it is published."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from billing_client.cli.commands.catalog_files import read_catalog, refuse_catalog
from billing_client.cli.commands.move_tables import (
    AMOUNTS,
    RIGHT,
    build_rows_table,
    describe_obstacles,
    describe_totals,
    show_difference,
    show_versions,
)
from billing_client.cli.commands.shared import show_money
from billing_client.cli.output import Cell, Document, Table
from billing_client.cli.session import Session
from billing_client.errors import BillingError

_PATH: Final = "/api/internal/billing/catalog/impact"
_COLUMNS: Final = (
    "plan_id",
    "change",
    "next_version",
    "subscriptions",
    "versions",
    "currency",
    "movable",
    *AMOUNTS,
)


def show_impact(
    context: typer.Context,
    *,
    file: Annotated[str, typer.Option(help="The document; - reads stdin.")],
    limit: Annotated[int, typer.Option(help="Most subscriptions to list by plan.", min=0, max=1000)] = 10,
    org: Annotated[str, typer.Option(help="Whose catalog, where the token names none.")] = "",
) -> None:
    """Show what a catalog document would change for running subscriptions. Publishes nothing, moves nobody."""
    session = Session.of(context)
    text = read_catalog(file)
    with session.connect("billing:catalog:read", caller="operator") as client:
        try:
            answer = client.request(
                "POST", _PATH, params={"limit": limit, "org_id": org or None}, content=text.encode(), repeatable=True
            ).data
        except BillingError as error:
            if error.code in {"catalog_invalid", "catalog_contains_secret"} and error.findings:
                raise refuse_catalog(error.findings) from error
            raise
    session.output.write(_render(answer))


def _render(answer: dict[str, Any]) -> Document:
    plans = answer["plans"]
    tables = []
    if plans:
        rows = [_show_plan(plan, total) for plan in plans for total in plan["totals"] or [None]]
        columns = ["Plan", "Change", "Versions", "Next invoice", "Next after", "Monthly difference"]
        tables.append(Table(columns, rows, right=RIGHT | {"Monthly difference"}))
    tables += [build_rows_table(plan["rows"], title=plan["plan_id"]) for plan in plans if plan["rows"]]
    after = [f"{plan['plan_id']}: {line}" for plan in plans for line in describe_obstacles(plan["not_movable"])]
    if len(plans) > 1:
        after += [f"All plans, {line}" for line in describe_totals(answer["totals"])]
    after.append(_summarise(answer))
    return Document(
        data=answer,
        tables=tables,
        after=after,
        header=_COLUMNS,
        records=[_make_record(plan, total) for plan in plans for total in plan["totals"] or [None]],
    )


def _show_plan(plan: dict[str, Any], total: dict[str, Any] | None) -> list[Cell]:
    change = f"{plan['change']} to v{plan['next_version']}" if plan["next_version"] else "off sale"
    head: list[Cell] = [plan["plan_id"], change, show_versions(plan["versions"])]
    if total is None:
        return [*head, "", "", ""]
    currency = total["currency"]
    before, after = (show_money(total[name], currency) for name in AMOUNTS[:2])
    return [*head, before, after, show_difference(total["monthly_difference"], currency)]


def _make_record(plan: dict[str, Any], total: dict[str, Any] | None) -> list[Cell]:
    versions = " ".join(f"{each['version']}:{each['subscriptions']}" for each in plan["versions"])
    head: list[Cell] = [plan["plan_id"], plan["change"], plan["next_version"], plan["subscriptions"], versions]
    if total is None:
        return [*head, "", 0, *([None] * len(AMOUNTS))]
    return [*head, total["currency"], total["subscriptions"], *(total[name] for name in AMOUNTS)]


def _summarise(answer: dict[str, Any]) -> str:
    if not answer["difference"]:
        return "No difference to the active catalog"
    if not answer["subscriptions"]:
        return "No running subscription is on a plan that changes"
    return "Nothing was published. Publishing moves nobody; billing operator plan move does"
