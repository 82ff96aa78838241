"""billing operator usage find, show, void, amend: single usage events and what became of them."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from billing_client.cli.commands.shared import show_minute
from billing_client.cli.failures import CliError, misuse
from billing_client.cli.output import Document, Table
from billing_client.cli.session import Session
from billing_client.errors import NotFound

_RECORDS: Final = "/api/internal/billing/usage-records"
_COLUMNS: Final = (
    "id", "account_id", "timestamp", "meter", "quantity", "unit", "idempotency_key", "resource_id", "actor_id", "weight"
)  # fmt: skip
_BILLING: Final = {
    "charged": "charged to the prepaid balance when it happened",
    "invoiced": "on invoice {invoice}",
    "drafted": "on a draft invoice",
    "after_invoice": "recorded after invoice {invoice} was made; no invoice bills it by itself",
    "late": "recorded after invoice {invoice} was made; on the next invoice of {subscription}, due {due}",
    "next_invoice": "on the next invoice of {subscription}, due {due}",
    "later_invoice": "on a later invoice of {subscription}",
    "trial": "not billed: it happened in a trial",
    "billed_elsewhere": "not billed here",
    "not_priced": "not billed: no running subscription prices the meter",
    "no_subscription": "not billed: the account has no running subscription",
    "closed": "on no invoice: its time was billed without the meter",
}
Account = Annotated[str, typer.Option("--of", help="Account: id or external id. Needed unless a key or id is given.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the correction.")]


def find_events(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="Idempotency key, or the id of an event: evu_….")] = "",
    *,
    of: Account = "",
    meter: Annotated[str, typer.Option(help="Only of this meter.")] = "",
    start: Annotated[str, typer.Option(help="From this date or time with offset on.")] = "",
    end: Annotated[str, typer.Option(help="Before this time; a date is included.")] = "",
    dimension: Annotated[str, typer.Option(help="Name and value: model:large.")] = "",
    resource: Annotated[str, typer.Option(help="Only of this resource.")] = "",
    actor: Annotated[str, typer.Option(help="Only of this actor.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50,
) -> None:
    """Find usage events: by key or id, or those of an account by meter, time and what they name."""
    if not reference and not of:
        raise misuse("name a key or an id, or the account with --of")
    name = "id" if reference.startswith("evu_") else "key"
    wanted = {
        name: reference, "account": of, "meter": meter, "start": start, "end": end, "dimension": dimension,
        "resource_id": resource, "actor_id": actor,
    }  # fmt: skip
    session = Session.of(context)
    with session.connect("billing:read", caller="operator") as client:
        params = {key: value for key, value in wanted.items() if value}
        found = list(client.iterate(_RECORDS, params, limit=limit))
    rows = [[_show(event, column) for column in _COLUMNS] for event in found]
    titles = ["ID", "Account", "Happened (UTC)", "Meter", "Quantity", "Unit", "Key", "Resource", "Actor", "Weight"]
    session.output.write(
        Document(
            data={"items": found},
            tables=[Table(titles, rows, right=frozenset({"Quantity", "Weight"}))] if rows else [],
            header=_COLUMNS,
            records=[[event.get(column) for column in _COLUMNS] for event in found],
            after=[] if rows else ["No usage event fits."],
        )
    )


def show_event(
    context: typer.Context,
    event_id: Annotated[str, typer.Argument(help="Id of an event: evu_….")],
    *,
    of: Annotated[str, typer.Option("--of", help="Its account, for events older than 35 days.")] = "",
) -> None:
    """Show what became of a usage event: whether it counts, in which totals, and on which invoice."""
    session = Session.of(context)
    with session.connect("billing:read", caller="operator") as client:
        found = _ask(lambda: client.get(_path(event_id), {"account": of or None}), event_id)
    event = found["event"]
    facts = [
        ["Event", f"{event['quantity']} {event['unit']} of {event['meter']}"],
        ["Account", event["account_id"]],
        ["Happened", f"{show_minute(event['timestamp'])} UTC"],
        ["Recorded", f"{show_minute(event['recorded_at'])} UTC"],
        ["Key", event["idempotency_key"]],
        ["Counts", "yes" if found["counted"] else "no"],
        *[
            [bucket["span"].capitalize(), f"{bucket['quantity']} {event['unit']} in {bucket['event_count']} events"]
            for bucket in found["buckets"]
        ],
        *[[f"Quota per {use['window']}", f"{use['used']} of {use['limit'] or 'no limit'}"] for use in found["quotas"]],
        ["Billing", describe_billing(found["billing"])],
    ]
    for title, correction in (("Corrected", found["correction"]), ("Correction", found["part_of_correction"])):
        if correction:
            instead = correction["replacement_quantity"]
            what = f"{correction['quantity']} taken back" + (f", {instead} instead" if instead is not None else "")
            facts.append([title, f"{what}: {correction['reason']} ({correction['actor']})"])
    facts += [["Refused with the same key", reference] for reference in found["rejected_request_ids"]]
    session.output.write(Document(data=found, tables=[Table(["", ""], facts)], header=("name", "value"), records=facts))


def void_event(
    context: typer.Context,
    event_id: Annotated[str, typer.Argument(help="Id of an event: evu_….")],
    *,
    reason: Reason,
    of: Annotated[str, typer.Option("--of", help="Its account, for events older than 35 days.")] = "",
) -> None:
    """Take a usage event back. It stays as it is; a further one takes it back. Needs the scope billing:money."""
    _correct(context, event_id, "void", {"reason": reason}, of)


def amend_event(
    context: typer.Context,
    event_id: Annotated[str, typer.Argument(help="Id of an event: evu_….")],
    *,
    quantity: Annotated[str, typer.Option(help="What counts instead, in the meter's unit.")],
    reason: Reason,
    key: Annotated[str, typer.Option(help="Idempotency key of the new event; default: one is made.")] = "",
    of: Annotated[str, typer.Option("--of", help="Its account, for events older than 35 days.")] = "",
) -> None:
    """Count another quantity in place of a usage event. Needs the scope billing:money."""
    body = {"reason": reason, "quantity": quantity, **({"idempotency_key": key} if key else {})}
    _correct(context, event_id, "amend", body, of)


def describe_billing(billing: dict[str, Any]) -> str:
    """Return how an event is billed, as words."""
    due = billing.get("due_at")
    state = "late" if billing["state"] == "after_invoice" and due else billing["state"]
    words: str = _BILLING.get(state, state)
    return words.format(
        invoice=billing.get("invoice_number") or billing.get("invoice_id"),
        subscription=billing.get("subscription_id"),
        due=f"{show_minute(due)} UTC" if due else "when it goes on",
    )


def _correct(context: typer.Context, event_id: str, action: str, body: dict[str, Any], of: str) -> None:
    if of:
        body["account"] = of
    session = Session.of(context)
    with session.connect("billing:money", caller="operator") as client:
        done = _ask(lambda: client.post(f"{_path(event_id)}/{action}", body), event_id)
    correction = done["correction"]
    columns = ("id", "event_id", "void_id", "replacement_id", "quantity", "replacement_quantity")
    row = [correction.get(column) for column in columns]
    session.output.write(
        Document(
            data=done,
            tables=[Table(["Correction", "Event", "Taken back by", "Instead", "Quantity", "New quantity"], [row])],
            header=columns,
            records=[row],
            after=[f"Billing: {describe_billing(done['billing'])}"],
        )
    )


def _ask(call: Any, event_id: str) -> Any:
    try:
        return call()
    except NotFound as error:
        raise CliError(f"usage event not found: {event_id}", hint="billing operator usage find --of ACCOUNT") from error


def _path(event_id: str) -> str:
    return f"{_RECORDS}/{quote(event_id, safe='')}"


def _show(event: dict[str, Any], column: str) -> Any:
    value = event.get(column)
    return show_minute(value) if column == "timestamp" and isinstance(value, str) else value
