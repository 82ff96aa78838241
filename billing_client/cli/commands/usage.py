"""billing usage …"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from billing_client.cli.commands.shared import check_date, read_decimal, show_money, show_period
from billing_client.cli.failures import CliError, misuse
from billing_client.cli.output import Cell, Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import NotFound
from billing_client.money import format_number
from billing_client.usage_import.mapping import FIELDS, GENERIC, SYNTAX, Mapping, MappingInvalid, parse_mapping

if TYPE_CHECKING:
    from billing_client.usage_import.run import ImportResult

app = make_app()

PERIODS = ("current", "last-month", "custom")


@app.command("summary")
def show_usage(
    context: typer.Context,
    *,
    service: Annotated[str, typer.Option(help="Only this service or meter.")] = "",
    period: Annotated[str, typer.Option(help="current (billing period), last-month or custom.")] = "",
    start: Annotated[str | None, typer.Option(help="First day, with --period custom.")] = None,
    end: Annotated[str | None, typer.Option(help="Last day, inclusive.")] = None,
    detailed: Annotated[bool, typer.Option("--detailed", help="Day by day.")] = False,
) -> None:
    """Show what was used and what it costs. Alias: billing usage."""
    from billing_client.http import account_path

    first, last = _choose_period(period, start, end)
    session = Session.of(context)
    with session.connect("billing:read") as client:
        summary = client.get(
            account_path(session.find_account(), "usage/summary"),
            {
                "start": first,
                "end": last,
                "metric_type": service or None,
                "group_by": "day" if detailed else None,
            },
        )
    session.output.write(_render_detailed(summary) if detailed else _render_summary(summary))


@app.command("record")
def record_usage(
    context: typer.Context,
    *,
    service: Annotated[str, typer.Argument(help="Service or meter event name.")],
    quantity: Annotated[str, typer.Argument(help="Zero or more, up to 12 decimals.")],
    unit: Annotated[str, typer.Option(help="Checked against the meter, converted when it can be.")] = "",
    metadata: Annotated[str, typer.Option(help="A JSON object.")] = "",
    timestamp: Annotated[str, typer.Option(help="When it happened; default now.")] = "",
    idempotency_key: Annotated[str, typer.Option(help="Counts once per account and meter.")] = "",
) -> None:
    """Record one usage event."""
    from billing_client.http import account_path

    body: dict[str, Any] = {"metric_type": service, "quantity": _check_quantity(quantity)}
    optional = {"unit": unit, "timestamp": timestamp, "idempotency_key": idempotency_key}
    body.update({name: value for name, value in optional.items() if value})
    if metadata:
        body["metadata"] = _check_metadata(metadata)
    session = Session.of(context)
    with session.connect("billing:usage:write", caller="service") as client:
        try:
            record = client.post(account_path(session.find_account(), "usage"), body)
        except NotFound as error:
            if error.code == "meter_not_found":
                raise CliError(f"no meter is named {service}", hint="billing operator catalog get") from error
            raise
    columns = ("id", "metric_type", "quantity", "unit", "timestamp", "status")
    row = [record.get(column) for column in columns]
    titles = ["ID", "Service", "Quantity", "Unit", "Time", "Status"]
    session.output.write(
        Document(
            data=record, tables=[Table(titles, [row], right=frozenset({"Quantity"}))], header=columns, records=[row]
        )
    )


@app.command(
    "import",
    epilog=f"Form of a mapping: {SYNTAX}. Without --map a CSV file has the columns timestamp, service, quantity and "
    "metadata (a JSON object), and may have idempotency_key, unit, resource_id, actor_id and cost_center; JSON lines "
    "have the same keys. Times without a zone are UTC.",
)
def import_usage(
    context: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(help="A .csv or .jsonl file.")],
    map: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help=f"Which column is what ({', '.join(FIELDS)}, dimension.NAME). Repeatable.", metavar="MAPPING"
        ),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Do not go on where an earlier import stopped.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Check the file and send nothing.")] = False,
) -> None:
    """Import usage events from a file.

    The whole file is checked before anything is sent. Each event's key is made of the file's content, its line and its
    meter (or taken from the column that key= names), so importing a file again changes nothing.

    Example: billing usage import trace.csv --map 'meter=input_tokens,quantity=ContextTokens,timestamp=TIMESTAMP'
    --map 'meter=output_tokens,quantity=GeneratedTokens,timestamp=TIMESTAMP'
    """
    if not file.is_file():
        raise CliError(f"no such file: {file}")
    try:
        mappings = [parse_mapping(text) for text in map or []] or [GENERIC]
    except MappingInvalid as error:
        raise misuse(f"--map: {error}", hint=SYNTAX) from error
    session = Session.of(context)
    result = _run_import(session, file, mappings, restart=restart, only_check=check)
    columns = ("rows", "events", "sent", "created", "duplicates", "seconds")
    values: list[Cell] = [getattr(result, column) for column in columns[:-1]] + [f"{result.seconds:.1f}"]
    headings = [column.capitalize() for column in columns]
    session.output.write(
        Document(
            data={**dict(zip(columns, values, strict=True)), "resumed_after": result.resumed_after},
            tables=[Table(headings, [values], right=frozenset(headings))],
            header=columns,
            records=[values],
        )
    )


def _run_import(
    session: Session, file: Path, mappings: Sequence[Mapping], *, restart: bool, only_check: bool
) -> ImportResult:
    from billing_client.cli.progress import ImportProgress
    from billing_client.usage_import.rows import FileInvalid
    from billing_client.usage_import.run import UsageImport

    try:
        with ImportProgress(session.output, file.name) as listener:
            run = UsageImport(file, mappings, listener=listener)
            run.check()
            if only_check:
                return run.describe()
            with session.connect("billing:usage:write", caller="service") as client:
                return run.send(
                    client, account=session.find_account(), state_folder=session.environment.data_dir, restart=restart
                )
    except FileInvalid as error:
        generic = mappings == [GENERIC] and error.column in GENERIC.columns and error.line == 1
        raise CliError(str(error), hint=SYNTAX if generic else "") from error
    except OSError as error:
        raise CliError(f"cannot import {file}: {error.strerror or error}") from error
    except NotFound as error:
        if error.code == "meter_not_found":
            raise CliError(error.detail, hint="billing operator catalog get shows the meters") from error
        raise


def _choose_period(period: str, start: str | None, end: str | None) -> tuple[str | None, str | None]:
    """Return first and last day, both inclusive; nothing for the running billing period."""
    chosen = period or ("custom" if start or end else "current")
    if chosen not in PERIODS:
        raise CliError(f"invalid period: {chosen}", hint=f"one of {', '.join(PERIODS)}")
    if chosen == "custom":
        if not start or not end:
            raise misuse("period custom needs --start and --end")
        first, last = check_date(start, "--start"), check_date(end, "--end")
        if date.fromisoformat(start) > date.fromisoformat(end):
            raise CliError("invalid period: --end is before --start")
        return first, last
    if start or end:
        raise misuse("--start and --end go with --period custom")
    if chosen == "current":
        return None, None
    last_day = datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
    return last_day.replace(day=1).isoformat(), last_day.isoformat()


def _render_summary(summary: dict[str, Any]) -> Document:
    currency = summary.get("currency") or "usd"
    metrics = summary["metrics"]
    rows = [
        [
            metric["metric_type"],
            _show_quantity(metric["quantity"], metric.get("unit")),
            metric.get("unit") or "",
            _show_cost(metric, currency),
        ]
        for metric in metrics
    ]
    period = summary.get("period") or {}
    return Document(
        data=summary,
        tables=[
            Table(
                ["Service", "Usage", "Unit", "Cost"],
                rows,
                right=frozenset({"Usage", "Cost"}),
                title=f"Usage {show_period(period.get('start'), period.get('end'))}",
            )
        ],
        after=[f"Total {show_money(summary.get('total_cost') or 0, currency)}"] if rows else ["No usage"],
        header=["service", "total_usage", "total_events", "unit", "cost", "currency"],
        records=[
            [
                metric["metric_type"],
                read_decimal(metric["quantity"]),
                metric.get("event_count"),
                metric.get("unit"),
                metric.get("cost"),
                currency,
            ]
            for metric in metrics
        ],
    )


def _render_detailed(summary: dict[str, Any]) -> Document:
    days = [
        (day["date"], metric["metric_type"], read_decimal(day["quantity"]), day.get("event_count", 0))
        for metric in summary["metrics"]
        for day in metric.get("daily") or []
    ]
    days.sort(key=lambda day: (day[0], day[1]))
    return Document(
        data=summary,
        tables=[
            Table(
                ["Date", "Service", "Usage", "Events"],
                [[day, service, format_number(quantity), count] for day, service, quantity, count in days],
                right=frozenset({"Usage", "Events"}),
            )
        ],
        after=[] if days else ["No usage"],
        header=["date", "service", "usage", "events"],
        records=[list(day) for day in days],
    )


def _show_quantity(quantity: Any, unit: str | None) -> str:
    text = format_number(read_decimal(quantity))
    return f"{text} GB" if unit == "GB" else text


def _show_cost(metric: dict[str, Any], currency: str) -> str:
    inside = metric.get("included") is not None and read_decimal(metric.get("overage")) == 0
    return "Included" if inside and not metric.get("cost") else show_money(metric.get("cost") or 0, currency)


def _check_quantity(text: str) -> str:
    from decimal import Decimal, InvalidOperation

    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise misuse(f"quantity: {text} is not a number")
    if number < 0:
        raise misuse(f"quantity: {text} is below zero")
    return f"{number:f}"


def _check_metadata(text: str) -> dict[str, Any]:
    import json

    try:
        value = json.loads(text)
    except ValueError as error:
        raise misuse("--metadata: this is not valid JSON") from error
    if not isinstance(value, dict):
        raise misuse("--metadata: this is not a JSON object")
    return value
