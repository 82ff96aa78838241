"""What steps may refer to while a story is read: its accounts, and the subscriptions that earlier steps named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from invoicing.rehearsal.fields import Fields, suggest
from invoicing.rehearsal.story import StoryAccount


class Scope:
    """The names known so far, and the folder that files are looked for in."""

    def __init__(self, accounts: Mapping[str, StoryAccount], folder: Path) -> None:
        self.accounts = accounts
        self.folder = folder
        self.subscriptions: dict[str, str] = {}

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

    def name_subscription(self, fields: Fields, account: str) -> str:
        """Read `as`: how later steps call the subscription that this one starts."""
        name = fields.text("as")
        if name in self.subscriptions:
            fields.report("as", f"another step starts a subscription `{name}` already")
        if name:
            self.subscriptions[name] = account
        return name
