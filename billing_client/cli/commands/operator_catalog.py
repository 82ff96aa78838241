"""billing operator catalog …"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from billing_client.cli.commands.catalog_files import read_catalog, refuse_catalog
from billing_client.cli.failures import CliError, misuse
from billing_client.cli.output import Document, Table, format_json
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import BillingError

app = make_app()

PATH: Final = "/api/internal/billing/catalog"
TEMPLATES: Final = {
    "starter": "language models with token quotas, and containers with runtime quotas",
    "llm": "the language models of starter alone",
    "containers": "the containers of starter alone",
    "usage": "pay as you go: two meters, input and output tokens, each with its price",
    "default": "the catalog a new installation sells: platform, AI, monitoring and DNS",
}
_SHOWN: Final = 60
_DATA: Final = Path(__file__).parent.parent.parent / "data"


@app.command("template")
def print_template(
    context: typer.Context,
    name: Annotated[str, typer.Option(help=f"One of {', '.join(TEMPLATES)}.")] = "starter",
) -> None:
    """Print a starter catalog. Works offline."""
    if name not in TEMPLATES:
        known = "; ".join(f"{key}: {text}" for key, text in TEMPLATES.items())
        raise misuse(f"--name: there is no template {name}", hint=known)
    session = Session.of(context)
    _refuse_csv(session)
    session.output.write_text((_DATA / f"catalog_{name}.json").read_text(encoding="utf-8"))


@app.command("get")
def get_catalog(
    context: typer.Context, revision: Annotated[int | None, typer.Option(help="An older revision.", min=1)] = None
) -> None:
    """Print the active catalog document (JSON)."""
    session = Session.of(context)
    _refuse_csv(session)
    with session.connect("billing:catalog:read", caller="operator") as client:
        try:
            document = client.get(PATH, {"revision": revision})
        except BillingError as error:
            if error.code == "catalog_empty":
                raise CliError(
                    "nothing was published yet", hint="billing operator catalog template, then catalog put"
                ) from error
            raise
    session.output.write_text(format_json(document))


@app.command("put")
def put_catalog(
    context: typer.Context,
    *,
    file: Annotated[str, typer.Option(help="The document; - reads stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and compare; publish nothing.")] = False,
    if_match: Annotated[int | None, typer.Option(help="Only when this revision is active.", min=0)] = None,
) -> None:
    """Publish a catalog document. It is checked here first; what looks like a secret never leaves this machine."""
    session = Session.of(context)
    text = read_catalog(file)
    headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
    with session.connect("billing:catalog:write", caller="operator") as client:
        try:
            answer = client.request(
                "PUT", PATH, params={"dry_run": dry_run or None}, content=text.encode(), headers=headers
            ).data
        except BillingError as error:
            raise _explain_refusal(error) from error
    session.output.write(_render_difference(answer) if dry_run else _render_published(answer))


@app.command("validate")
def validate_catalog(
    context: typer.Context, file: Annotated[str, typer.Option(help="The document; - reads stdin.")]
) -> None:
    """Check a catalog document without sending it."""
    session = Session.of(context)
    read_catalog(file)
    session.output.write(
        Document(data={"valid": True}, after=["The catalog is valid"], header=["valid"], records=[["true"]])
    )


@app.command("revisions")
def list_revisions(
    context: typer.Context, limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=200)] = 20
) -> None:
    """List what was published, newest first."""
    session = Session.of(context)
    with session.connect("billing:catalog:read", caller="operator") as client:
        page = client.get(f"{PATH}/revisions", {"limit": limit})
    keys = ("revision", "active", "published_at", "published_by", "reason")
    records = [[_show_cell(row[key]) for key in keys] for row in page["items"]]
    session.output.write(
        Document(
            data=page,
            tables=[Table(["Revision", "Active", "Published", "By", "Reason"], records, frozenset({"Revision"}))],
            after=["There are older ones: --limit shows more"] if page.get("has_more") else [],
            header=keys,
            records=records,
        )
    )


@app.command("compare")
def compare_revisions(
    context: typer.Context,
    *,
    old: Annotated[int, typer.Option("--from", help="The revision to start from.", min=1)],
    new: Annotated[int | None, typer.Option("--to", help="The active one if not given.", min=1)] = None,
) -> None:
    """Show what one revision changes against another, value by value."""
    session = Session.of(context)
    with session.connect("billing:catalog:read", caller="operator") as client:
        answer = client.get(f"{PATH}/revisions/compare", {"from": old, "to": new})
    rows = list(_list_changes(answer["difference"]))
    after = "" if rows else f"Revisions {answer['old']} and {answer['new']} say the same"
    session.output.write(_make_changes(answer, rows, after))


@app.command("rollback")
def roll_back(
    context: typer.Context,
    *,
    revision: Annotated[int, typer.Argument(help="The revision whose document comes back.", min=1)],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the new revision.")],
    if_match: Annotated[int | None, typer.Option(help="Only when this revision is active.", min=1)] = None,
) -> None:
    """Publish an older revision again, as a new revision. Subscriptions keep the prices they have."""
    session = Session.of(context)
    if not reason.strip():
        raise misuse("--reason must say something")
    headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
    path = f"{PATH}/revisions/{revision}/republish"
    with session.connect("billing:catalog:write", caller="operator") as client:
        try:
            answer = client.request(
                "POST", path, json_body={"reason": reason}, headers=headers, key=str(uuid.uuid4())
            ).data
        except BillingError as error:
            raise _explain_refusal(error) from error
    session.output.write(_render_published(answer))


def _explain_refusal(error: BillingError) -> Exception:
    if error.code == "revision_conflict":
        return CliError(error.detail, hint="someone published meanwhile: billing operator catalog get")
    return refuse_catalog(error.findings) if error.findings else error


def _render_published(answer: dict[str, Any]) -> Document:
    counts = [len(answer.get(name) or []) for name in ("products", "plans", "meters")]
    row = [answer.get("revision"), *counts, answer.get("published_at")]
    return Document(
        data=answer,
        tables=[Table(["Revision", "Products", "Plans", "Meters", "Published"], [row])],
        header=["revision", "products", "plans", "meters", "published_at"],
        records=[row],
    )


def _render_difference(answer: dict[str, Any]) -> Document:
    rows = list(_list_changes(answer.get("difference") or {}))
    after = "Nothing was published (dry run)" if rows else "No difference; publishing keeps the revision"
    return _make_changes(answer, rows, after)


def _make_changes(answer: dict[str, Any], rows: list[list[str]], after: str) -> Document:
    shown = [[*row[:4], *(_shorten(text) for text in row[4:])] for row in rows]
    return Document(
        data=answer,
        tables=[Table(["Change", "Kind", "ID", "What", "Old", "New"], shown)] if rows else [],
        after=[after] if after else [],
        header=["change", "kind", "id", "what", "old", "new"],
        records=rows,
    )


def _list_changes(difference: dict[str, Any]) -> Iterator[list[str]]:
    """Yield one row for what was added or removed, and one for every value that changed."""
    for kind, changes in difference.items():
        for change in ("added", "removed", "changed"):
            for entry in changes.get(change) or []:
                fields = entry.get("changes") if isinstance(entry, dict) else None
                for each in fields or [{}]:
                    values = [_show_value(each.get(key)) for key in ("field", "old", "new")]
                    yield [change, kind, _name(entry), *values]


def _show_cell(value: Any) -> Any:
    return ("yes" if value else "") if isinstance(value, bool) else value


def _show_value(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _name(entry: object) -> str:
    if isinstance(entry, dict):
        return str(entry.get("key") or entry.get("id") or entry.get("name") or entry)
    return str(entry)


def _refuse_csv(session: Session) -> None:
    if session.options.format == "csv":
        raise misuse("a catalog has no csv form", hint="--format json")
