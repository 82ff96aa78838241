"""billing operator price override …: prices negotiated with single accounts."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from billing_client.cli.commands.shared import show_day
from billing_client.cli.failures import CliError, misuse
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import NotFound

app = make_app()
override = make_app()
app.add_typer(override, name="override", help="What an account pays instead of a plan's price.")

_COLUMNS: Final = (
    "id",
    "account_id",
    "lookup_key",
    "model",
    "unit_amount",
    "effective_from",
    "effective_until",
    "reason",
    "created_by",
    "end_reason",
)


@app.callback()
def _group() -> None:
    """Keeps this a group although it holds one command."""


@override.command("set")
def set_override(
    context: typer.Context,
    *,
    lookup_key: Annotated[str, typer.Argument(help="The price it stands for, such as pro:usd:month.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the price.")],
    unit_amount: Annotated[
        str, typer.Option(help="Minor units, as in a catalog document: 2900, or 0.00004 per unit of a meter.")
    ] = "",
    model: Annotated[str, typer.Option(help="per_unit, flat, graduated, …; default: as in a document.")] = "",
    file: Annotated[
        str, typer.Option(help="JSON with the whole price, as in a document: tiers, minimum_amount, …")
    ] = "",
    since: Annotated[str, typer.Option("--from", help="For periods that start from then on; default: now.")] = "",
    until: Annotated[str, typer.Option(help="Periods that start from then on have the plan's price again.")] = "",
) -> None:
    """Agree on a price with --account. It replaces the plan's, whatever version of the plan the account is on."""
    session = Session.of(context)
    account = session.require_account()
    price = _read_price(file)
    if unit_amount:  # a document writes whole amounts as numbers, fractions as text
        is_whole = unit_amount.isascii() and unit_amount.removeprefix("-").isdigit()
        price["unit_amount"] = int(unit_amount) if is_whole else unit_amount
    if model:
        price["model"] = model
    if not price:
        raise misuse("--unit-amount or --file is required")
    body: dict[str, Any] = {"lookup_key": lookup_key, "price": price, "reason": reason}
    body.update({name: value for name, value in (("effective_from", since), ("effective_until", until)) if value})
    with session.connect("billing:catalog:write", caller="operator") as client:
        agreed = client.post(_path(account), body)
    session.output.write(_render([agreed], data=agreed))


@override.command("list")
def list_overrides(
    context: typer.Context,
    *,
    lookup_key: Annotated[str, typer.Option(help="Only for this price.")] = "",
    active: Annotated[bool, typer.Option("--active", help="Only those that periods starting now have.")] = False,
    limit: Annotated[int, typer.Option(help="How many.", min=1)] = 50,
) -> None:
    """List what was agreed with --account, newest first."""
    session = Session.of(context)
    account = session.require_account()
    query = {"lookup_key": lookup_key or None, "active": active or None}
    with session.connect("billing:catalog:read", caller="operator") as client:
        found = list(client.iterate(_path(account), query, limit=limit))
    session.output.write(_render(found, data={"items": found}))


@override.command("end")
def end_override(
    context: typer.Context,
    *,
    override_id: Annotated[str, typer.Argument(help="Id of a negotiated price.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the price.")],
    until: Annotated[str, typer.Option(help="Periods that start from then on lose it; default: now.")] = "",
) -> None:
    """Let a price negotiated with --account end. Periods that started before keep it."""
    session = Session.of(context)
    account = session.require_account()
    body = {"reason": reason, **({"effective_until": until} if until else {})}
    with session.connect("billing:catalog:write", caller="operator") as client:
        try:
            ended = client.post(f"{_path(account)}/{quote(override_id, safe='')}/end", body)
        except NotFound as error:
            if error.members.get("object_type") != "price_override":
                raise
            raise CliError(
                f"negotiated price not found: {override_id}", hint="billing operator price override list"
            ) from error
    session.output.write(_render([ended], data=ended))


def _path(account: str) -> str:
    return f"/api/internal/billing/accounts/{quote(account, safe='')}/price-overrides"


def _read_price(file: str) -> dict[str, Any]:
    if not file:
        return {}
    try:
        price = json.loads(Path(file).expanduser().read_text(encoding="utf-8-sig"), parse_float=Decimal)
    except OSError as error:
        raise CliError(f"cannot read {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise CliError(f"{file} is not JSON: {error}") from error
    if not isinstance(price, dict):
        raise CliError(f"{file} holds no JSON object")
    return price


def _render(overrides: list[dict[str, Any]], *, data: Any) -> Document:
    rows = [
        [
            each["id"],
            each["lookup_key"],
            _show_price(each["price"]),
            show_day(each["effective_from"]),
            show_day(each["effective_until"]),
            each["end_reason"] or each["reason"],
        ]
        for each in overrides
    ]
    flat = [
        {**each, "model": each["price"]["model"], "unit_amount": each["price"].get("unit_amount")} for each in overrides
    ]
    return Document(
        data=data,
        tables=[Table(["Override", "Price", "Terms", "From", "Until", "Reason"], rows)] if rows else [],
        after=[] if rows else ["No negotiated price"],
        header=_COLUMNS,
        records=[[each[name] for name in _COLUMNS] for each in flat],
    )


def _show_price(price: dict[str, Any]) -> str:
    """Return the terms in a line: `per_unit 0.00004`, further ones as JSON."""
    rest = {name: value for name, value in price.items() if name not in {"model", "unit_amount"}}
    parts = [str(price["model"]), str(price.get("unit_amount", "")), json.dumps(rest, default=str) if rest else ""]
    return " ".join(part for part in parts if part)
