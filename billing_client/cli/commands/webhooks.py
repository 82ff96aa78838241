"""billing webhook …: the address that payment providers send their events to."""

from __future__ import annotations

from typing import Final

import typer

from billing_client.cli.failures import CliError
from billing_client.cli.output import Document, Table
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.errors import BillingError, ConnectionFailed

app = make_app()


@app.callback()
def _declare_group() -> None:
    """Make a group of the one command: typer would take it for the whole program."""


_DOORS: Final = {"stripe": "/api/v1/billing/webhooks/stripe", "local": "/api/v1/billing/webhooks/local"}
_OPEN: Final = "open; a message without a signature was refused, as it must be"
_SHUT: Final = "shut: the service has no secret for it"
_COLUMNS: Final = ("provider", "url", "open")


@app.command("test")
def test_webhooks(context: typer.Context) -> None:
    """
    Print the address to configure at the payment provider, and see whether it answers. Alias: billing webhook.

    Events of ours to addresses of yours are not part of this version: nothing is sent anywhere else.
    """
    session = Session.of(context)
    with session.connect() as client:
        found = {}
        for provider, path in _DOORS.items():
            try:
                client.request("POST", path, json_body={})
            except ConnectionFailed:
                raise
            except BillingError as refusal:
                found[provider] = _read_refusal(refusal)
            else:
                raise CliError(f"{path} took a message without a signature; do not use this service")
        addresses = {provider: f"{client.api_url}{path}" for provider, path in _DOORS.items()}
    # The local provider is for trying out: it is worth a line only where its door is open.
    shown = [provider for provider in _DOORS if provider == "stripe" or found[provider]]
    rows = [[provider, addresses[provider], _OPEN if found[provider] else _SHUT] for provider in shown]
    after = ["Configure the address, as the provider reaches it, and put its signing secret on the server."]
    if not found["stripe"]:
        after.append("The secret of Stripe's endpoint is missing on the server: BILLING_STRIPE_WEBHOOK_SECRETS.")
    after.append("Webhooks to your own addresses are not part of this version; none was sent.")
    items = [{"provider": each, "url": addresses[each], "open": found[each]} for each in shown]
    session.output.write(
        Document(
            data={"inbound": items, "outbound": []},
            tables=[Table(["Provider", "Inbound address", "State"], rows)],
            after=after,
            header=_COLUMNS,
            records=[[each, addresses[each], str(found[each]).lower()] for each in shown],
        )
    )


def _read_refusal(refusal: BillingError) -> bool:
    """Tell whether the door is open from how it refuses a message that nobody signed."""
    if refusal.code == "provider_unknown":
        return False
    if refusal.code == "webhook_signature_missing":
        return True
    raise refusal
