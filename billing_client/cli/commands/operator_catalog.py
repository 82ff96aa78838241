"""billing operator catalog …"""

from __future__ import annotations

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
}
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
            if error.code == "revision_conflict":
                raise CliError(
                    error.detail, hint="someone published meanwhile: billing operator catalog get"
                ) from error
            if error.findings:
                raise refuse_catalog(error.findings) from error
            raise
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
    rows = []
    for kind, changes in (answer.get("difference") or {}).items():
        for change in ("added", "removed", "changed"):
            for entry in changes.get(change) or []:
                rows.append([change, kind, _name(entry)])
    return Document(
        data=answer,
        tables=[Table(["Change", "Kind", "ID"], rows)] if rows else [],
        after=["Nothing was published (dry run)" if rows else "No difference; publishing keeps the revision"],
        header=["change", "kind", "id"],
        records=rows,
    )


def _name(entry: object) -> str:
    if isinstance(entry, dict):
        return str(entry.get("key") or entry.get("id") or entry.get("name") or entry)
    return str(entry)


def _refuse_csv(session: Session) -> None:
    if session.options.format == "csv":
        raise misuse("a catalog has no csv form", hint="--format json")
