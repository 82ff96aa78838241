"""billing invoice …"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from billing_client.cli.commands.shared import (
    check_date,
    confirm,
    read_decimal,
    show_day,
    show_minute,
    show_money,
    show_period,
)
from billing_client.cli.failures import CliError, misuse
from billing_client.cli.output import Document, Table, write_file
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import ConnectionFailed, NotFound
from billing_client.money import format_unit_price

app = make_app()

STATUSES = ("draft", "open", "paid", "void", "uncollectible", "pending", "overdue", "partially_paid")
_TAKEN = ("credit_used", "balance_used", "provider_used")
_PAY_HINT = "billing payment list; --payment-method uses another one; billing payment add"
_HEAD = ("invoice_id", "total_amount", "currency", "status", "period_start", "period_end", "created_at")


@app.command("list")
def list_invoices(
    context: typer.Context,
    status: Annotated[str, typer.Option(help=f"One of {', '.join(STATUSES)}.")] = "",
    start: Annotated[str | None, typer.Option(help="Issued on or after this date.")] = None,
    end: Annotated[str | None, typer.Option(help="Issued on or before this date.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 10,
) -> None:
    """List invoices. Alias: billing invoice."""
    if status and status not in STATUSES:
        raise misuse(f"--status: {status} is none of {', '.join(STATUSES)}")
    session = Session.of(context)
    filters = {"status": status or None, "start": check_date(start, "--start"), "end": check_date(end, "--end")}
    with session.connect("billing:read") as client:
        account = session.find_account_or_none()
        invoices = list(client.iterate("/api/v1/billing/invoices", {"account": account, **filters}, limit=limit))
    session.output.write(render_invoices(invoices))


@app.command("show")
def show_invoice(
    context: typer.Context,
    invoice_id: Annotated[str, typer.Argument(help="Id or number.")],
    include: Annotated[str, typer.Option(help="payments or metadata.")] = "",
) -> None:
    """Show one invoice with its lines."""
    if include not in {"", "payments", "metadata"}:
        raise misuse(f"--include: {include} is neither payments nor metadata")
    session = Session.of(context)
    with session.connect("billing:read") as client:
        invoice = _get_invoice(client, invoice_id)
    session.output.write(render_invoice(invoice, include=include))


@app.command("download")
def download_invoice(
    context: typer.Context,
    invoice_id: Annotated[str | None, typer.Argument(help="Id or number.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="The newest invoice.")] = False,
) -> None:
    """Save an invoice as PDF.

    The file is NUMBER.pdf in the export folder, or what --output names. Its path is printed.
    """
    if (invoice_id is None) != latest:
        raise misuse("give an invoice id or --latest, one of them", hint="billing invoice list")
    session = Session.of(context)
    with session.connect("billing:read") as client:
        if latest:
            account = session.find_account_or_none()
            newest = list(client.iterate("/api/v1/billing/invoices", {"account": account}, limit=1))
            if not newest:
                raise CliError("there is no invoice")
            invoice = newest[0]
        else:
            invoice = _get_invoice(client, str(invoice_id))
        answer = client.request("GET", f"{_path(invoice['id'])}/pdf", headers={"Accept": "application/pdf"})
    if not answer.content.startswith(b"%PDF"):
        raise CliError("download failed: the answer is no PDF")
    name = invoice.get("number_str") or invoice["id"]
    target = session.options.output or session.environment.export_dir / f"{_file_name(name)}.pdf"
    write_file(target, answer.content)
    if not session.options.quiet:
        session.output.stdout.write(f"{target}\n")


@app.command("pay")
def pay_invoice(
    context: typer.Context,
    *,
    invoice_id: Annotated[str, typer.Argument(help="Id or number.")],
    payment_method: Annotated[str, typer.Option("--payment-method", help="pm_…, else the default one.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Without a question.")] = False,
) -> None:
    """
    Try to collect an open invoice now: credit and the prepaid balance first, then the payment method.

    What was taken stays taken when the rest fails. Exit code 1 when it is not fully paid.
    """
    session = Session.of(context)
    with session.connect("billing:payment:write", "billing:read") as client:
        invoice = _get_invoice(client, invoice_id)
        if not force:
            due, target = show_money(_read_due(invoice), invoice["currency"]), payment_method or "what is stored"
            confirm(f"Pay {due} of {invoice.get('number_str') or invoice['id']} from {target}?")
        body = {"payment_method_id": payment_method} if payment_method else {}
        try:
            answer = client.post(f"{_path(invoice['id'])}/pay", body)
        except NotFound as error:
            if not payment_method:
                raise
            raise CliError(f"payment method not found: {payment_method}", hint="billing payment list") from error
        except ConnectionFailed as error:
            # An invoice is never charged twice, so asking again is safe; but it may be paid already.
            hint = f"billing invoice show {invoice_id}; paying again charges nothing twice"
            raise CliError(f"{error.detail}; whether it was paid is not known", hint=hint) from error
    invoice, collection = answer["invoice"], answer["collection"]
    session.output.write(_render_payment(answer))
    if invoice["status"] != "paid":
        left = show_money(_read_due(invoice), invoice["currency"])
        reason = str(collection.get("error") or "").rstrip(".")
        raise CliError(f"not fully paid, {left} is left" + (f": {reason}" if reason else ""), hint=_PAY_HINT)
    session.output.say("Invoice paid")


def _render_payment(answer: dict[str, Any]) -> Document:
    """Return what an attempt to collect took, and from where."""
    invoice, collection = answer["invoice"], answer["collection"]
    currency = invoice["currency"]
    parts = [
        ("Credit", collection["credit_used"]),
        ("Balance", collection["balance_used"]),
        ("Payment method", collection["provider_used"]),
        ("Left to pay", _read_due(invoice)),
    ]
    return Document(
        data=answer,
        tables=[
            Table(["Invoice", "Status"], [[invoice.get("number_str") or invoice["id"], show_status(invoice)]]),
            Table(["Taken from", "Amount"], [[name, show_money(amount, currency)] for name, amount in parts]),
        ],
        header=("invoice_id", "status", "currency", *_TAKEN, "amount_remaining", "error"),
        records=[
            [
                *(invoice["id"], invoice["status"], currency),
                *(collection[name] for name in _TAKEN),
                _read_due(invoice),
                collection.get("error"),
            ]
        ],
    )


def _read_due(invoice: dict[str, Any]) -> int:
    return int(invoice.get("amount_remaining", invoice.get("amount_due")) or 0)


def render_invoices(invoices: list[dict[str, Any]]) -> Document:
    """Return a list of invoices."""
    rows = [
        [
            invoice.get("number_str") or "draft",
            invoice["id"],
            show_day(invoice.get("issue_date") or invoice.get("created_at")),
            show_money(compute_total(invoice), invoice["currency"]),
            show_status(invoice),
        ]
        for invoice in invoices
    ]
    return Document(
        data={"items": invoices},
        tables=[Table(["Number", "ID", "Date", "Amount", "Status"], rows, right=frozenset({"Amount"}))],
        after=[] if rows else ["No invoices"],
        header=["number", "id", "date", "amount", "currency", "status"],
        records=[
            [
                invoice.get("number_str"),
                invoice["id"],
                invoice.get("issue_date"),
                compute_total(invoice),
                invoice["currency"],
                invoice["status"],
            ]
            for invoice in invoices
        ],
    )


def render_invoice(invoice: dict[str, Any], *, include: str = "") -> Document:
    """Return one invoice: its head, its lines, and how the lines become what is due."""
    currency = invoice["currency"]
    start, end = invoice.get("period_start"), invoice.get("period_end")
    head = [
        invoice["id"],
        compute_total(invoice),
        currency,
        invoice["status"],
        start,
        end,
        invoice.get("created_at"),
    ]
    facts = [
        ["Number", invoice.get("number_str") or "draft"],
        ["ID", invoice["id"]],
        ["Status", show_status(invoice)],
        ["Period", show_period(start, end)],
        ["Created", show_minute(invoice.get("created_at"))],
        ["Issued", show_day(invoice.get("issue_date"))],
        ["Due", show_day(invoice.get("due_date"))],
    ]
    lines = [
        [
            line.get("description"),
            _plain(line.get("quantity")),
            _show_unit_price(line, currency),
            show_money(line["amount"], currency),
        ]
        for line in invoice.get("line_items") or []
    ]
    totals = [
        [label, show_money(amount, currency)]
        for label, amount in (
            ("Subtotal", invoice.get("subtotal")),
            ("Discount", -int(invoice.get("discount") or 0) or None),
            ("Tax", invoice.get("tax") or None),
            ("Total", compute_total(invoice)),
            ("Credit applied", -int(invoice.get("credit_applied") or 0) or None),
            ("Paid", -int(invoice.get("amount_paid") or 0) or None),
            ("Amount due", invoice.get("amount_remaining", invoice.get("amount_due"))),
        )
        if amount is not None
    ]
    tables = [
        Table(["Invoice", ""], facts),
        Table(
            ["Description", "Quantity", "Unit price", "Amount"],
            lines,
            right=frozenset({"Quantity", "Unit price", "Amount"}),
        ),
        Table(["", "Amount"], totals, right=frozenset({"Amount"})),
    ]
    if include == "metadata":
        metadata = invoice.get("metadata") or {}
        tables.append(Table(["Metadata", "Value"], [[key, str(value)] for key, value in metadata.items()]))
    if include == "payments":
        payment = [invoice.get("payment_method"), invoice.get("payment_ref"), show_minute(invoice.get("paid_at"))]
        tables.append(Table(["Payment method", "Reference", "Paid"], [payment] if invoice.get("paid_at") else []))
    return Document(data=invoice, tables=tables, header=_HEAD, records=[head])


def compute_total(invoice: dict[str, Any]) -> int:
    """Return subtotal less discount plus tax, minor units."""
    return int(invoice["subtotal"]) - int(invoice.get("discount") or 0) + int(invoice.get("tax") or 0)


def show_status(invoice: dict[str, Any]) -> str:
    """Return the status with what is remarkable about it."""
    notes = [
        note for key, note in (("is_overdue", "overdue"), ("is_partially_paid", "partly paid")) if invoice.get(key)
    ]
    return f"{invoice['status']} ({', '.join(notes)})" if notes else str(invoice["status"])


def _get_invoice(client: Any, reference: str) -> dict[str, Any]:
    try:
        invoice: dict[str, Any] = client.get(_path(reference))
    except NotFound as error:
        raise CliError(f"invoice not found: {reference}", hint="billing invoice list") from error
    return invoice


def _path(reference: str) -> str:
    return f"/api/v1/billing/invoices/{quote(reference, safe='')}"


def _show_unit_price(line: dict[str, Any], currency: str) -> str:
    if line.get("unit_price") is None:
        return ""
    return format_unit_price(read_decimal(line["unit_price"]), currency)


def _plain(value: Any) -> str:
    if value is None:
        return ""
    text = f"{read_decimal(value):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _file_name(text: str) -> str:
    name = "".join(char if char.isalnum() or char in "-_." else "_" for char in Path(text).name)
    return name.lstrip(".") or "invoice"
