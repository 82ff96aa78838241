"""billing doctor"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

import typer

from billing_client.cli.failures import FAILURE, CliError
from billing_client.cli.output import Document, Table
from billing_client.cli.session import Session
from billing_client.environment import read_claims
from billing_client.errors import AuthError, BillingError, ConnectionFailed
from billing_client.http import Answer, BillingClient

Verdict = Literal["ok", "note", "failed"]
MOST_SKEW = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the diagnosis."""

    name: str
    verdict: Verdict
    detail: str


def run(context: typer.Context) -> None:
    """Check configuration, folders, the API, the clock, the token with its scopes, and what the API offers."""
    session = Session.of(context)
    checks = list(_diagnose(session))
    failed = sum(check.verdict == "failed" for check in checks)
    rows = [[check.name, check.verdict, check.detail] for check in checks]
    session.output.write(
        Document(
            data={
                "ok": not failed,
                "checks": [asdict(check) for check in checks],
            },
            tables=[Table(["Check", "Result", "Detail"], rows)],
            after=[
                "Everything is in order"
                if not failed
                else "1 check failed"
                if failed == 1
                else f"{failed} checks failed"
            ],
            header=["check", "result", "detail"],
            records=rows,
        )
    )
    if failed:
        raise typer.Exit(FAILURE)


def _diagnose(session: Session) -> Iterator[Check]:
    yield Check("configuration", "ok", f"API at {session.options.api_url}, timeout {session.options.timeout:g} s")
    for name, folder in (("data folder", session.environment.data_dir), ("exports", session.environment.export_dir)):
        yield _check_folder(name, folder)
    token, finding = _find_token(session)
    with BillingClient(
        session.options.api_url, token=token or "", timeout=session.options.timeout, observe=session._observe
    ) as client:
        answer, check = _check_api(client)
        yield check
        if answer is not None:
            yield _check_clock(answer)
        yield finding
        if token and check.verdict != "failed":
            yield from _check_token(client, token)
            yield from _check_offer(client, session)


def _check_folder(name: str, folder: Path) -> Check:
    existing = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check(name, "failed", f"{folder} cannot be written")
    return Check(name, "ok", f"{folder}{'' if folder.exists() else ' (made when needed)'}")


def _find_token(session: Session) -> tuple[str | None, Check]:
    session.scopes = ("billing:read",)
    try:
        return (token := session.find_token("service")), Check("token", "ok", _describe_token(token))
    except CliError as error:
        return None, Check("token", "failed", f"{error.message}; {error.hint}" if error.hint else error.message)


def _describe_token(token: str) -> str:
    claims = read_claims(token)
    if not claims.subject:
        return "found; it is not a JWT this command can read"
    audience = "internal" if claims.is_internal else "public"
    return f"found: {audience}, subject {claims.subject}"


def _check_api(client: BillingClient) -> tuple[Answer | None, Check]:
    started = time.monotonic()
    try:
        answer = client.request("GET", "/readyz")
    except ConnectionFailed as error:
        return None, Check("API", "failed", error.detail)
    except BillingError as error:
        checks = error.members.get("checks")
        detail = ", ".join(f"{name}: {state}" for name, state in checks.items()) if isinstance(checks, dict) else ""
        return None, Check("API", "failed", f"answers {error.status}, not ready{f' ({detail})' if detail else ''}")
    return answer, Check("API", "ok", f"ready, answered in {(time.monotonic() - started) * 1000:.0f} ms")


def _check_clock(answer: Answer) -> Check:
    try:
        skew = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp() - time.time()
    except ValueError:
        return Check("clock", "note", "the API does not tell its time")
    if abs(skew) > MOST_SKEW:
        return Check("clock", "failed", f"differs from the API's by {abs(skew):.0f} s; tokens may be refused")
    return Check("clock", "ok", f"agrees with the API's within {max(1.0, abs(skew)):.0f} s")


def _check_token(client: BillingClient, token: str) -> Iterator[Check]:
    claims = read_claims(token)
    if claims.expires_at is not None:
        left = claims.expires_at - time.time()
        if left <= 0:
            yield Check("token lifetime", "failed", "the token has expired")
        else:
            hours = left / 3600
            yield Check(
                "token lifetime", "ok", f"{hours / 24:.0f} days left" if hours > 48 else f"{hours:.1f} hours left"
            )
    try:
        client.get("/api/v1/billing/plans", {"limit": 1})
    except AuthError as error:
        yield Check("token accepted", "failed", error.detail)
    except BillingError as error:
        yield Check("token accepted", "note", f"cannot tell: {error.detail}")
    else:
        yield Check("token accepted", "ok", "the API accepts it")
    yield Check("scopes", "ok" if claims.scopes else "note", ", ".join(sorted(claims.scopes)) or "the token names none")


def _check_offer(client: BillingClient, session: Session) -> Iterator[Check]:
    """What the API says of itself, where it says it."""
    capabilities = _ask(client, "/api/v1/billing/capabilities", {})
    if capabilities is not None:
        features = capabilities.get("features") or []
        currencies = capabilities.get("currencies") or []
        yield Check("capabilities", "ok", f"{len(currencies)} currencies, {len(features)} features")
        pays = "payments" in features
        yield Check(
            "payments", "ok" if pays else "note", "can be taken" if pays else "no payment provider can be asked"
        )
    status = _ask(client, "/api/v1/billing/status", {"account": session.options.account})
    if status is not None:
        yield Check("provider", "ok", f"{status.get('provider') or 'none'}; account {status.get('status')}")


def _ask(client: BillingClient, path: str, params: dict[str, str | None]) -> Any:
    try:
        return client.get(path, params)
    except BillingError:
        return None
