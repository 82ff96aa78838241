"""One run of the command: its options, its token, its client and its output."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from billing_client.cli.arguments import GlobalOptions
from billing_client.cli.failures import CliError, misuse
from billing_client.cli.output import Output
from billing_client.environment import Environment, TokenClaims, read_claims

if TYPE_CHECKING:
    import typer

    from billing_client.http import BillingClient, Exchange

Caller = Literal["user", "operator", "service"]
"""Whose token a command takes. A service's: a user's place first, then an operator's (recording usage needs it)."""


@dataclass
class Session:
    """Handed to every command as the context's object."""

    options: GlobalOptions
    environment: Environment
    output: Output
    scopes: tuple[str, ...] = ()
    """The scopes of the running command, for hints."""
    request_ids: list[str] = field(default_factory=list)
    _claims: TokenClaims = field(default_factory=TokenClaims)

    @classmethod
    def of(cls, context: typer.Context) -> Session:
        """Return the session of a running command."""
        session: Session = context.obj
        return session

    def connect(self, *scopes: str, caller: Caller = "user") -> BillingClient:
        """
        Return a client with the caller's token. `scopes` are what the command needs, named in hints.

        :raises CliError: if there is no token.
        """
        from billing_client.http import BillingClient

        self.scopes = scopes
        token = self.find_token(caller)
        self._claims = read_claims(token)
        return BillingClient(self.options.api_url, token=token, timeout=self.options.timeout, observe=self._observe)

    @property
    def claims(self) -> TokenClaims:
        """What the token in use says of itself."""
        return self._claims

    def find_account(self) -> str:
        """
        Return the account to work on: named, from the environment, else the token's subject.

        :raises CliError: if there is none (a service's token is no account).
        """
        account = self.find_account_or_none()
        if account is None:
            raise CliError("no account found", hint="set BILLING_ACCOUNT_ID, pass --account, or log in")
        return account

    def find_account_or_none(self) -> str | None:
        """Return the account to work on, or None where a service's token names none."""
        return self.options.account or (None if self._claims.is_internal else self._claims.subject or None)

    def require_account(self) -> str:
        """
        Return the account an operator named.

        :raises CliError: exit code 2 if none was.
        """
        if self.options.account is None:
            raise misuse("--account is required")
        return self.options.account

    def find_token(self, caller: Caller) -> str:
        """
        Return the first token found in the caller's places.

        :raises CliError: if all are empty.
        """
        places = _list_places(caller, self.environment)
        if self.options.token_file is not None:
            return self._read_token(self.options.token_file)
        for place in places:
            if isinstance(place, Path):
                if place.is_file():
                    return self._read_token(place)
            elif value := self.environment.get(place):
                if place == "BILLING_TOKEN_FILE":
                    return self._read_token(Path(value).expanduser())
                return _check_token(value.strip(), place)
        needs = f"scope {' '.join(self.scopes)}" if self.scopes else "a valid token"
        names = ", ".join(["--token-file", *map(str, places)])
        raise CliError("no token found", hint=f"searched {names}; needs {needs}")

    def _read_token(self, path: Path) -> str:
        try:
            text = path.read_text(encoding="utf-8").strip()
            mode = path.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise CliError(f"cannot read the token file {path}: {reason}") from error
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            self.output.warn(f"the token file {path} can be read by others; chmod 600 {path}")
        return _check_token(text, str(path))

    def _observe(self, exchange: Exchange) -> None:
        if exchange.request_id:
            self.request_ids.append(exchange.request_id)
        if self.options.verbose:
            request = f", request {exchange.request_id}" if exchange.request_id else ""
            self.output.say(
                f"{exchange.method} {exchange.url} -> {exchange.status} in {exchange.seconds:.2f} s{request}"
            )


def _list_places(caller: Caller, environment: Environment) -> Sequence[str | Path]:
    user = ("BILLING_TOKEN_FILE", "BILLING_API_TOKEN", environment.default_token_file)
    operator = ("BILLING_OPERATOR_TOKEN", "BILLING_INTERNAL_TOKEN")
    return {"user": user, "operator": operator, "service": (*user, *operator)}[caller]


def _check_token(token: str, place: str) -> str:
    if not token:
        raise CliError(f"the token in {place} is empty")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise CliError(f"what is in {place} is not a token")
    return token


def make_session(options: GlobalOptions, environment: Environment) -> Session:
    """Return the session of this process."""
    return Session(options, environment, Output(options, stdout=sys.stdout, stderr=sys.stderr))
