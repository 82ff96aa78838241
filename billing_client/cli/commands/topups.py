"""billing topup"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from billing_client.cli.commands.shared import confirm, show_money
from billing_client.cli.failures import CliError, misuse
from billing_client.cli.output import Document, Table
from billing_client.cli.session import Session
from billing_client.errors import ConnectionFailed, NotFound
from billing_client.money import parse_major

if TYPE_CHECKING:
    from billing_client.http import BillingClient

_COLUMNS: Final = ("status", "transaction_id", "amount_cents", "balance_cents", "currency", "payment_method_id")
_STATES: Final = {"ok": "paid", "pending": "not answered yet", "requires_action": "needs the card holder"}
_HINT: Final = "billing payment list; billing payment add"


def run(
    context: typer.Context,
    *,
    amount: Annotated[str, typer.Argument(help="In major units: 25.00.")],
    payment_method: Annotated[str, typer.Option("--payment-method", help="pm_…, else the default one.")] = "",
    currency: Annotated[str, typer.Option(help="Currency of the amount.")] = "usd",
    idempotency_key: Annotated[
        str, typer.Option("--idempotency-key", help="Charges once, however often it is sent.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Without a question.")] = False,
) -> None:
    """Charge a stored payment method and add the amount to the prepaid balance."""
    minor = _read_amount(amount, currency)
    session = Session.of(context)
    key = idempotency_key or str(uuid.uuid4())
    with session.connect("billing:payment:write", "billing:read") as client:
        account = session.find_account()
        if not payment_method:
            method = _find_default(client, account)
            payment_method = method["id"]
            session.output.say(f"Pays with {method['name']} ({payment_method})")
        if not force:
            confirm(f"Charge {show_money(minor, currency)} to {payment_method}?")
        body = {
            "account": account,
            "payment_method_id": payment_method,
            "amount_cents": minor,
            "currency": currency.lower(),
        }
        try:
            result = client.post("/api/v1/billing/topup", body, key=key)
        except NotFound as error:
            if error.members.get("object_type") == "account":
                raise
            raise CliError(f"payment method not found: {payment_method}", hint=_HINT) from error
        except ConnectionFailed as error:
            # It may have been charged: a second one under another key would be a second charge.
            raise CliError(
                f"{error.detail}; whether it was charged is not known",
                hint=f"the same command with --idempotency-key={key} tells, and charges once",
            ) from error
    _show(session, result, minor, currency.lower(), payment_method)


def _read_amount(text: str, currency: str) -> int:
    try:
        minor = parse_major(text, currency)
    except ValueError as error:
        raise misuse(f"amount: {error}") from error
    if minor <= 0:
        raise misuse("amount: it must be above zero")
    return minor


def _find_default(client: BillingClient, account: str) -> dict[str, Any]:
    for method in client.iterate("/api/v1/billing/payment-methods", {"account": account}, limit=1):
        if method["is_default"] and method["type"] != "balance":
            found: dict[str, Any] = method
            return found
    raise CliError("there is no default payment method that can be charged", hint=f"--payment-method; {_HINT}")


def _show(session: Session, result: dict[str, Any], amount: int, currency: str, method: str) -> None:
    state = result["status"]
    shown = {"amount_cents": amount, "currency": currency, "payment_method_id": method, **result}
    row = [_STATES.get(state, state), show_money(amount, currency), show_money(result["balance_cents"], currency)]
    session.output.write(
        Document(
            data=result,
            tables=[
                Table(
                    ["State", "Amount", "Prepaid balance", "Transaction"],
                    [[*row, result.get("transaction_id") or ""]],
                    right=frozenset({"Amount", "Prepaid balance"}),
                )
            ],
            header=_COLUMNS,
            records=[[shown.get(column) for column in _COLUMNS]],
        )
    )
    if state == "pending":
        session.output.warn(
            "the payment provider has not answered yet; the balance follows when it does. Do not pay again"
        )
    elif state == "requires_action":
        raise CliError(
            "the bank asks the card holder to confirm; nothing is paid yet",
            hint="confirm it in the browser, or use another method: billing payment list",
        )
