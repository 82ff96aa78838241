"""
The commands by name. Only the module of the command that is asked for is loaded: the rest is names and one line each.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

CONTEXT: Final = {"help_option_names": ["--help", "-h"], "max_content_width": 110}


@dataclass(frozen=True, slots=True)
class Entry:
    """One top-level name: a group (`app` of its module) or a single command (`run` of its module)."""

    module: str
    help: str
    is_group: bool = True


ENTRIES: Final[dict[str, Entry]] = {
    "status": Entry("status", "Billing state, features, quota use, what to do next.", is_group=False),
    "customer": Entry("customers", "The account: who is billed."),
    "account": Entry("accounts", "Any account, with an internal token: what comes."),
    "subscription": Entry("subscriptions", "Subscriptions of the account."),
    "usage": Entry("usage", "Usage: what was consumed, record it, import files."),
    "invoice": Entry("invoices", "Invoices: list, show, download, pay."),
    "payment": Entry("payments", "Payment methods: list, add, remove, choose the default."),
    "setup": Entry("setup", "The page on which payment is set up.", is_group=False),
    "portal": Entry("portal", "The page on which cards, invoices and subscriptions are managed.", is_group=False),
    "plan": Entry("plans", "Plans on offer."),
    "balance": Entry("balances", "Prepaid money and credit.", is_group=False),
    "topup": Entry("topups", "Charge a payment method for the prepaid balance.", is_group=False),
    "transactions": Entry("transactions", "Movements of prepaid money, newest first.", is_group=False),
    "alert": Entry("alerts", "Alerts about costs: list, add, remove."),
    "webhook": Entry("webhooks", "The address that payment providers send events to."),
    "doctor": Entry("doctor", "Check configuration, connection, token and clock.", is_group=False),
    "operator": Entry("operator", "Run billing: catalog, accounts, deposits, cycles, invoices."),
}

# What a group does when it is called without a command.
DEFAULTS: Final[dict[tuple[str, ...], str]] = {
    ("customer",): "show",
    ("subscription",): "show",
    ("usage",): "summary",
    ("invoice",): "list",
    ("payment",): "list",
    ("plan",): "list",
    ("alert",): "list",
    ("webhook",): "test",
}
ALIASES: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    ("customer", "info"): ("show",),
    ("subscription", "current"): ("show",),
}


def make_app(**options: Any) -> typer.Typer:
    """Return an empty group with the settings all of them share."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=CONTEXT,
        **options,
    )


def build_root(wanted: str | None) -> typer.Typer:
    """Return the program with the group or command `wanted` loaded and all others as names."""
    root = make_app(
        name="billing",
        help="Billing from the command line. Talks to the HTTP API only. Data goes to stdout, messages to stderr.",
        epilog="The options above may stand anywhere in a command line.",
    )
    root.callback()(_declare_global_options)
    for name, entry in ENTRIES.items():
        if name != wanted:
            root.command(name, help=entry.help)(_not_loaded)
            continue
        module = import_module(f"billing_client.cli.commands.{entry.module}")
        if entry.is_group:
            default = DEFAULTS.get((name,))
            epilog = f"Without a command: billing {name} {default} (see its --help)." if default else None
            root.add_typer(module.app, name=name, help=entry.help, epilog=epilog)
        else:
            root.command(name, help=entry.help)(module.run)
    return root


def _not_loaded() -> None:
    """Stands for a command in the list of commands; never called."""


def _declare_global_options(  # noqa: PLR0917 - they are declared for --help; `arguments` reads them
    api_url: Annotated[str, typer.Option(help="Base URL of the API, without /api [BILLING_API_URL].")] = "",
    token_file: Annotated[Path | None, typer.Option(help="File holding the token [BILLING_TOKEN_FILE].")] = None,
    account: Annotated[
        str, typer.Option(help="Account to work on, default: the token's subject [BILLING_ACCOUNT_ID].")
    ] = "",
    format: Annotated[str, typer.Option(help="table, json or csv.", metavar="FORMAT")] = "table",
    output: Annotated[Path | None, typer.Option(help="Write data to this file, whole or not at all.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No messages, no data on stdout; errors stay.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait for an answer: 30s, 2m [BILLING_TIMEOUT].")] = "30s",
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show requests and request ids [BILLING_LOG_LEVEL=debug].")
    ] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours [NO_COLOR].")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print name and version.")] = False,
) -> None:
    """Taken out of the command line before it is parsed; see `billing_client.cli.arguments`."""
