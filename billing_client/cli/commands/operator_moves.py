"""billing operator plan move …: running subscriptions to another version of their plan."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from billing_client.cli.commands.move_tables import (
    ROW_COLUMNS,
    build_records,
    build_rows_table,
    build_totals_table,
    describe_obstacles,
    describe_totals,
    show_versions,
)
from billing_client.cli.commands.shared import confirm, show_minute
from billing_client.cli.failures import CliError, misuse
from billing_client.cli.output import Document, Table
from billing_client.cli.progress import TaskProgress
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import NotFound

if TYPE_CHECKING:
    from billing_client.http import BillingClient

app = make_app()
move = make_app()
app.add_typer(move, name="move", help="Take running subscriptions to another version of their plan.")

PATH: Final = "/api/internal/billing/plan-moves"
POLL_SECONDS = 1.0
_NAMED_FAILURES: Final = 10
_MOVE_COLUMNS: Final = ("id", "plan_id", "version", "when", "status", "pending", "applied", "failed", "requested_at")
_ITEM_COLUMNS: Final = ("subscription_id", "account_id", "from_version", "status", "error_code", "error_detail")

Plan = Annotated[str, typer.Argument(help="Plan id; case-sensitive.")]
Version = Annotated[
    int | None, typer.Option("--to-version", help="The version to move to; default: the one on sale.", min=1)
]
When = Annotated[str, typer.Option(help="period-end (each with its next period) or now.", metavar="WHEN")]
FromVersions = Annotated[
    list[int] | None, typer.Option("--from-version", help="Only those on this version; may be repeated.", min=1)
]
Subscriptions = Annotated[
    list[str] | None, typer.Option("--subscription", help="Only this subscription; may be repeated.")
]
Org = Annotated[str, typer.Option(help="Whose plan, where the token names none.")]


@app.callback()
def _group() -> None:
    """Keeps this a group although it holds one command."""


@move.command("preview")
def preview_move(
    context: typer.Context,
    *,
    plan: Plan,
    version: Version = None,
    when: When = "period-end",
    from_version: FromVersions = None,
    subscription: Subscriptions = None,
    limit: Annotated[int, typer.Option(help="Most subscriptions to list.", min=0, max=1000)] = 50,
    org: Org = "",
) -> None:
    """Show what moving would change, the largest differences first. Moves nobody."""
    body = _read_terms(
        plan, version=version, when=when, from_versions=from_version, subscriptions=subscription, org=org
    )
    session = Session.of(context)
    with session.connect("billing:catalog:write", caller="operator") as client:
        preview = _ask(client, plan, {**body, "limit": limit})
    tables = [build_totals_table(preview["totals"])] if preview["totals"] else []
    tables += [build_rows_table(preview["rows"])] if preview["rows"] else []
    session.output.write(
        Document(
            data=preview,
            tables=tables,
            after=_describe(preview),
            header=ROW_COLUMNS,
            records=build_records(preview["rows"]),
        )
    )


@move.command("start")
def start_move(
    context: typer.Context,
    *,
    plan: Plan,
    reason: Annotated[str, typer.Option(help="Why; kept with every subscription that moves.")],
    version: Version = None,
    when: When = "period-end",
    from_version: FromVersions = None,
    subscription: Subscriptions = None,
    org: Org = "",
    force: Annotated[bool, typer.Option("--force", help="No question.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is done.")] = False,
    idempotency_key: Annotated[str, typer.Option(help="Moves once, however often it is sent.")] = "",
) -> None:
    """Move subscriptions: shows the sums, asks, starts, and waits. Exit 1 when nobody could be moved."""
    body = _read_terms(
        plan, version=version, when=when, from_versions=from_version, subscriptions=subscription, org=org
    )
    session = Session.of(context)
    with session.connect("billing:catalog:write", caller="operator") as client:
        preview = _ask(client, plan, {**body, "limit": 0})
        if preview["movable"]:
            for line in [*_describe(preview), *describe_totals(preview["totals"])]:
                session.output.say(line)
            if not force:
                _confirm(preview["movable"])
        elif not idempotency_key:  # the repeat of a keyed request finds everybody moved already
            raise _refuse_empty(preview)
        started = client.post(PATH, {**body, "reason": reason}, key=idempotency_key or None)
        session.output.say(f"Started {started['id']}; it goes on in the background whatever happens here")
        done = started if no_wait else _wait(session, client, started)
        failed = [] if no_wait else _list_failed(client, done)
    session.output.write(_render_moves([done], data=done))
    if done["status"] == "failed":
        raise CliError(
            f"0 of {_count(done)} applied", details=failed, hint=f"billing operator plan move show {done['id']}"
        )
    if failed:
        session.output.warn(f"{done['progress']['failed']} of {_count(done)} could not be moved")
        for line in failed:
            session.output.say(line)


@move.command("show")
def show_move(
    context: typer.Context,
    *,
    move_id: Annotated[str, typer.Argument(help="Id of a move.")],
    status: Annotated[str, typer.Option(help="Only pending, applied or failed ones.")] = "",
    limit: Annotated[int, typer.Option(help="Most subscriptions to list.", min=1)] = 50,
) -> None:
    """Show a move and what became of its subscriptions."""
    session = Session.of(context)
    path = f"{PATH}/{quote(move_id, safe='')}"
    with session.connect("billing:catalog:read", caller="operator") as client:
        try:
            found = client.get(path)
        except NotFound as error:
            raise CliError(f"move not found: {move_id}", hint="billing operator plan move list") from error
        items = list(client.iterate(f"{path}/items", {"status": status or None}, limit=limit))
    rows = [
        [
            item["subscription_id"],
            item["account_name"] or item["account_id"],
            f"v{item['from_version']}",
            item["status"],
            item["error_detail"],
        ]
        for item in items
    ]
    document = _render_moves([found], data={**found, "items": items})
    columns = ["Subscription", "Account", "From", "Status", "Why not"]
    session.output.write(
        Document(
            data=document.data,
            tables=[*document.tables, Table(columns, rows)],
            header=_ITEM_COLUMNS,
            records=[[item[name] for name in _ITEM_COLUMNS] for item in items],
        )
    )


@move.command("list")
def list_moves(
    context: typer.Context,
    *,
    plan: Annotated[str, typer.Option(help="Only moves of this plan.")] = "",
    status: Annotated[str, typer.Option(help="Only running, completed or failed ones.")] = "",
    limit: Annotated[int, typer.Option(help="How many.", min=1)] = 20,
) -> None:
    """List moves, newest first."""
    session = Session.of(context)
    with session.connect("billing:catalog:read", caller="operator") as client:
        moves = list(client.iterate(PATH, {"plan_id": plan or None, "status": status or None}, limit=limit))
    session.output.write(_render_moves(moves, data={"items": moves}))


# ---- asking ---------------------------------------------------------------------------------------------------------
def _read_terms(
    plan: str,
    *,
    version: int | None,
    when: str,
    from_versions: list[int] | None,
    subscriptions: list[str] | None,
    org: str,
) -> dict[str, Any]:
    timing = when.replace("-", "_")
    if timing not in {"now", "period_end"}:
        raise misuse(f"--when: {when} is neither period-end nor now")
    optional = {
        "version": version,
        "from_versions": from_versions,
        "subscription_ids": subscriptions,
        "org_id": org,
    }
    return {"plan_id": plan, "when": timing, **{name: value for name, value in optional.items() if value}}


def _ask(client: BillingClient, plan: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = client.post(f"{PATH}/preview", body)
    except NotFound as error:
        what = "version" if error.members.get("object_type") == "plan_version" else "plan"
        named = body.get("version") if what == "version" else plan
        raise CliError(f"{what} not found: {named}", hint="billing plan list; names are case-sensitive") from error
    return answer


def _describe(preview: dict[str, Any]) -> list[str]:
    target = f"{preview['plan_id']} v{preview['version']}"
    if not preview["subscriptions"]:
        return [f"No running subscription is on another version of {target}"]
    when = "at once" if preview["when"] == "now" else "with each next period"
    lines = [f"{preview['movable']:,} to {target}, {when}; now on {show_versions(preview['versions'])}"]
    lines += describe_obstacles(preview["not_movable"])
    if preview["left_out"]:
        lines.append(f"Not running on another version: {', '.join(preview['left_out'])}")
    return lines


def _refuse_empty(preview: dict[str, Any]) -> CliError:
    if not preview["subscriptions"]:
        return CliError(_describe(preview)[0], hint="billing operator plan move list")
    reasons = describe_obstacles(preview["not_movable"])
    return CliError(f"0 of {preview['subscriptions']:,} applied: nobody can be moved", details=reasons)


def _confirm(count: int) -> None:
    confirm("Move this subscription?" if count == 1 else f"Move these {count:,} subscriptions?")


# ---- waiting --------------------------------------------------------------------------------------------------------
def _wait(session: Session, client: BillingClient, started: dict[str, Any]) -> dict[str, Any]:
    found = started
    with TaskProgress(session.output, started["plan_id"]) as progress:
        progress.begin("Moving", _count(started), "subscriptions")
        while found["status"] == "running":
            time.sleep(POLL_SECONDS)
            found = client.get(f"{PATH}/{started['id']}")
            progress.advance(_count(found) - found["progress"]["pending"])
    return found


def _list_failed(client: BillingClient, done: dict[str, Any]) -> list[str]:
    if not done["progress"]["failed"]:
        return []
    items = client.iterate(f"{PATH}/{done['id']}/items", {"status": "failed"}, limit=_NAMED_FAILURES)
    return [f"{item['subscription_id']}: {item['error_detail']}" for item in items]


def _count(found: dict[str, Any]) -> int:
    return sum(found["progress"].values())


# ---- showing --------------------------------------------------------------------------------------------------------
def _render_moves(moves: list[dict[str, Any]], *, data: Any) -> Document:
    rows = [
        [
            each["id"],
            f"{each['plan_id']} v{each['version']}",
            "at once" if each["when"] == "now" else "next period",
            each["status"],
            f"{each['progress']['applied']:,} of {_count(each):,}",
            f"{each['progress']['failed']:,}",
            show_minute(each["requested_at"]),
            each["reason"],
        ]
        for each in moves
    ]
    flat = [{**each, **each["progress"]} for each in moves]
    columns = ["Move", "To", "When", "Status", "Applied", "Failed", "Requested", "Reason"]
    return Document(
        data=data,
        tables=[Table(columns, rows, right=frozenset({"Applied", "Failed"}))] if rows else [],
        after=[] if rows else ["No move yet"],
        header=_MOVE_COLUMNS,
        records=[[each[name] for name in _MOVE_COLUMNS] for each in flat],
    )
