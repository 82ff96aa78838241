"""What steps may refer to while a story is read: its accounts, and what earlier steps named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from billing_site.kernel.periods import local_midnight
from invoicing.rehearsal.fields import Fields, parse_day, suggest
from invoicing.rehearsal.story import StoryAccount


class Scope:
    """The names known so far, and the folder that files are looked for in."""

    def __init__(self, accounts: Mapping[str, StoryAccount], folder: Path) -> None:
        self.accounts = accounts
        self.folder = folder
        self.subscriptions: dict[str, str] = {}
        self.payment_methods: set[str] = set()
        self.alerts: set[str] = set()

    def read_account(self, fields: Fields, *, required: bool = True) -> str:
        """Read `account`: the id of an account of the story."""
        name = fields.text("account", required=required)
        if name and name not in self.accounts:
            fields.report("account", f"the story has no account `{name}`{suggest(name, self.accounts)}")
            return ""
        return name

    def read_subscription(self, fields: Fields, key: str = "subscription") -> str:
        """Read the name that an earlier step gave to a subscription."""
        name = fields.text(key, required=True)
        if name and name not in self.subscriptions:
            fields.report(
                key,
                f"no earlier step starts a subscription `{name}` (subscribe with `as: {name}`)"
                f"{suggest(name, self.subscriptions)}",
            )
            return ""
        return name

    def read_subscriptions(self, fields: Fields, key: str) -> tuple[str, ...]:
        """Read the names of several subscriptions; none when the key is absent."""
        names = fields.texts(key)
        for name in names:
            if name not in self.subscriptions:
                fields.report(key, f"no earlier step starts a subscription `{name}`{suggest(name, self.subscriptions)}")
        return tuple(names)

    def read_moment(self, fields: Fields, key: str, account: str) -> datetime | None:
        """Read a time with its offset, or a day: its first instant where the account lives."""
        day = parse_day(fields.text(key))
        if day is not None and account:
            return local_midnight(day, self.accounts[account].zone)
        return fields.instant(key)

    def name_subscription(self, fields: Fields, account: str) -> str:
        """Read `as`: how later steps call the subscription that this one starts."""
        name = fields.text("as")
        if name in self.subscriptions:
            fields.report("as", f"another step starts a subscription `{name}` already")
        if name:
            self.subscriptions[name] = account
        return name

    def name_payment_method(self, fields: Fields) -> str:
        """Read `as`: how later steps call the payment method that this one attaches."""
        name = fields.text("as")
        if name in self.payment_methods:
            fields.report("as", f"another step attaches a payment method `{name}` already")
        if name:
            self.payment_methods.add(name)
        return name

    def read_payment_method(self, fields: Fields, key: str) -> str:
        """Read the name that an earlier step gave to a payment method; empty when the key is absent."""
        name = fields.text(key)
        if name and name not in self.payment_methods:
            fields.report(
                key,
                f"no earlier step attaches a payment method `{name}` (with `as: {name}`)"
                f"{suggest(name, self.payment_methods)}",
            )
            return ""
        return name

    def name_alert(self, fields: Fields) -> str:
        """Read `as`: how later steps call the alert that this one asks for."""
        name = fields.text("as")
        if name in self.alerts:
            fields.report("as", f"another step asks for an alert `{name}` already")
        if name:
            self.alerts.add(name)
        return name

    def read_alert(self, fields: Fields, key: str) -> str:
        """Read the name that an earlier step gave to an alert; empty when the key is absent."""
        name = fields.text(key)
        if name and name not in self.alerts:
            fields.report(key, f"no earlier step asks for an alert `{name}`{suggest(name, self.alerts)}")
            return ""
        return name
