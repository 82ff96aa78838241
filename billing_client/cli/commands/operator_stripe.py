"""billing operator stripe …: the payment provider, asked directly with its secret key."""

from __future__ import annotations

import ipaddress
import os
import stat
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from billing_client.cli.failures import CliError, describe_findings, misuse
from billing_client.cli.output import Cell, Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session

if TYPE_CHECKING:
    from billing_client.http import Exchange
    from billing_client.provider_sync.connection import StripeConnection
    from billing_client.provider_sync.errors import ProviderError
    from billing_client.provider_sync.sync import Outcome
    from billing_client.provider_sync.wanted import WantedCatalog

app = make_app()
catalog = make_app()
app.add_typer(catalog, name="catalog", help="The catalog at the provider.")

KEY_VARIABLE: Final = "BILLING_STRIPE_SECRET_KEY"
KEY_PLACES: Final = f"--api-key-file or {KEY_VARIABLE}"
CHECK_KEY: Final = "check key, mode (test or live) and permissions"

KeyFile = Annotated[str, typer.Option(help=f"File holding the secret key [{KEY_VARIABLE}].")]
ApiUrl = Annotated[str, typer.Option(help="Address of the provider: https, or this machine [BILLING_STRIPE_API_URL].")]
ApiVersion = Annotated[str, typer.Option(help="Version of its API [BILLING_STRIPE_API_VERSION].")]


@app.command("test")
def test_provider(
    context: typer.Context,
    *,
    api_key_file: KeyFile = "",
    stripe_api_url: ApiUrl = "",
    stripe_api_version: ApiVersion = "",
) -> None:
    """Ask the provider for the balance, and say which mode the key is for. Amounts are not shown."""
    from billing_client.provider_sync.errors import ProviderError

    session = Session.of(context)
    with _connect(session, api_key_file, stripe_api_url, stripe_api_version) as connection:
        try:
            answer = connection.get("/v1/balance")
        except ProviderError as error:
            raise _explain(session, error) from error
        is_live = bool(answer.data.get("livemode", connection.is_live))
    mode = "live" if is_live else "test"
    session.output.write(
        Document(
            data={"mode": mode, "livemode": is_live, "api_version": answer.api_version},
            tables=[Table(["Mode", "API version"], [[mode, answer.api_version]])],
            header=["mode", "api_version"],
            records=[[mode, answer.api_version]],
        )
    )


@catalog.command("sync")
def sync_catalog(
    context: typer.Context,
    *,
    file: Annotated[str, typer.Option(help="The catalog document; - reads stdin.")],
    api_key_file: KeyFile = "",
    stripe_api_url: ApiUrl = "",
    stripe_api_version: ApiVersion = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; change nothing.")] = False,
) -> None:
    """Create or find the products, prices and meters of a catalog by lookup key.

    The document is checked first; nothing is sent while something required is missing. Running it again changes
    nothing. A price that differs is replaced and archived; what the document no longer names stays.
    """
    from billing_client.provider_sync.errors import ProviderDiffers, ProviderError
    from billing_client.provider_sync.sync import prepare_sync

    session = Session.of(context)
    wanted = _read_catalog(file)
    done: list[Outcome] = []
    with _connect(session, api_key_file, stripe_api_url, stripe_api_version) as connection:
        if connection.is_live and not dry_run:
            session.output.warn("this is a live key: what is created here is for real customers")
        try:
            prepared = prepare_sync(connection, wanted)
            for warning in prepared.warnings:
                session.output.warn(warning)
            for outcome in prepared.describe() if dry_run else prepared.run():
                done.append(outcome)
        except ProviderDiffers as error:
            hint = "give the meter another event_name, or the document the provider's values; nothing was changed"
            raise CliError("the provider has meters that count differently", details=error.lines, hint=hint) from error
        except ProviderError as error:
            raise _explain(session, error, done) from error
    session.output.write(_render(done, livemode=connection.is_live, dry_run=dry_run))


@catalog.callback()
def _catalog() -> None:
    """Keeps this a group although it holds one command."""


# ---- the document ---------------------------------------------------------------------------------------------------
def _read_catalog(file: str) -> WantedCatalog:
    from billing_client.catalog_check import NotJson
    from billing_client.provider_sync.document import DocumentRefused, read_catalog

    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).expanduser().read_bytes()
        return read_catalog(content.decode("utf-8-sig"))
    except OSError as error:
        raise CliError(f"cannot read {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise misuse(f"{file} is not UTF-8 text") from error
    except NotJson as error:
        raise misuse(f"the catalog is not valid JSON: {error}") from error
    except DocumentRefused as error:
        lines = describe_findings(error.findings)
        count = "1 finding" if len(lines) == 1 else f"{len(lines)} findings"
        hint = "nothing was sent"
        raise CliError(f"the catalog was refused, {count}", details=lines, hint=hint, exit_code=2) from error


# ---- the connection -------------------------------------------------------------------------------------------------
def _connect(session: Session, key_file: str, api_url: str, api_version: str) -> StripeConnection:
    """
    Return a connection with the key, the address and the version that were given or stand in the environment.

    :raises CliError: exit code 2 for a key that is none, or an address that would show it to others.
    """
    from billing_client.provider_sync.connection import DEFAULT_API_URL, DEFAULT_API_VERSION, StripeConnection

    environment = session.environment
    url = api_url or environment.get("BILLING_STRIPE_API_URL") or DEFAULT_API_URL
    version = api_version or environment.get("BILLING_STRIPE_API_VERSION") or DEFAULT_API_VERSION
    if not version.isascii() or not version.isprintable() or " " in version:
        raise misuse("--stripe-api-version: this is no version such as " + DEFAULT_API_VERSION)
    return StripeConnection(
        _find_key(session, key_file),
        api_url=_check_url(url),
        api_version=version,
        timeout=session.options.timeout,
        observe=lambda exchange: _show_exchange(session, exchange),
    )


def _find_key(session: Session, key_file: str) -> str:
    if key_file.startswith("pk_"):
        raise misuse("keys are not accepted on the command line", hint=f"the secret key comes from {KEY_PLACES}")
    if key_file:
        return _check_key(_read_key(session, Path(key_file).expanduser()), key_file)
    if value := session.environment.get(KEY_VARIABLE):
        return _check_key(value.strip(), KEY_VARIABLE)
    raise CliError("no provider key found", hint=f"searched {KEY_PLACES} and its other names")


def _read_key(session: Session, path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CliError(f"cannot read the key file {path}: {reason}") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        session.output.warn(f"the key file {path} can be read by others; chmod 600 {path}")
    return text


def _check_key(key: str, place: str) -> str:
    if key.startswith("pk_"):
        raise misuse(f"the key in {place} is a publishable key", hint="a secret key is needed: sk_ or rk_")
    if not key.startswith(("sk_", "rk_")) or not key.isascii() or not key.isprintable() or " " in key:
        raise misuse(f"what is in {place} is no secret key of the provider", hint="it starts with sk_ or rk_")
    return key


def _check_url(text: str) -> str:
    """The key goes along with every request: https, or no further than this machine."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
        parts = urlsplit("")
    if not valid or parts.username or parts.query or parts.fragment:
        raise misuse("--stripe-api-url: this is not an address such as https://api.stripe.com")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise misuse("--stripe-api-url: only https keeps the key secret", hint="http is for this machine only")
    return text.rstrip("/").removesuffix("/v1")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _show_exchange(session: Session, exchange: Exchange) -> None:
    if session.options.verbose:
        request = f", request {exchange.request_id}" if exchange.request_id else ""
        text = f"{exchange.method} {exchange.url} -> {exchange.status} in {exchange.seconds:.2f} s{request}"
        session.output.say(text)


# ---- what is said ---------------------------------------------------------------------------------------------------
def _explain(session: Session, error: ProviderError, done: Sequence[Outcome] = ()) -> CliError:
    """Return the failure, with what was written before it."""
    details = [
        f"{outcome.result} before: {outcome.kind} {outcome.lookup_key} {outcome.id}"
        for outcome in done
        if outcome.result in {"created", "updated"}
    ]
    if session.options.verbose:
        facts = {"code": error.code, "status": error.status or "", "request": error.request_id}
        details.append(", ".join(f"{name} {value}" for name, value in facts.items() if value))
    hint = "try again" if error.retryable else CHECK_KEY
    if done:
        hint += "; the next run goes on from here and creates nothing twice"
    return CliError(f"payment provider error: {error.detail}", details=list(filter(None, details)), hint=hint)


def _render(outcomes: Sequence[Outcome], *, livemode: bool, dry_run: bool) -> Document:
    rows: list[list[Cell]] = [
        [
            outcome.kind,
            outcome.lookup_key,
            outcome.id or "-",
            f"{outcome.result}: {outcome.detail}" if outcome.detail else outcome.result,
        ]
        for outcome in outcomes
    ]
    items: list[dict[str, Any]] = [
        {
            "kind": outcome.kind,
            "lookup_key": outcome.lookup_key,
            "id": outcome.id,
            "result": outcome.result,
            "detail": outcome.detail,
        }
        for outcome in outcomes
    ]
    counts = Counter(outcome.result for outcome in outcomes)
    total = ", ".join(f"{count} {result}" for result, count in counts.items()) or "the catalog is empty"
    return Document(
        data={"items": items, "livemode": livemode, "dry_run": dry_run},
        tables=[Table(["Kind", "Lookup key", "ID", "Result"], rows)] if rows else [],
        after=[total, *(["Nothing was changed (dry run)"] if dry_run else [])],
        header=["kind", "lookup_key", "id", "result", "detail"],
        records=[list(item.values()) for item in items],
    )
