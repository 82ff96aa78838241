"""The command line before any parser sees it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from billing_client.cli.arguments import SECRET_REFUSED, complete_command, split_arguments
from billing_client.cli.failures import CliError
from billing_client.environment import Environment, parse_duration

NOTHING = Environment({})


class TestSplitArguments:
    def test_takes_global_options_from_anywhere(self) -> None:
        words = ["--format", "json", "invoice", "--account=acme/alice", "list", "--limit", "3", "--quiet"]
        options, rest = split_arguments(words, NOTHING)
        assert rest == ["invoice", "list", "--limit", "3"]
        assert (options.format, options.account, options.account_given, options.quiet) == (
            "json",
            "acme/alice",
            True,
            True,
        )

    def test_leaves_what_follows_a_double_dash(self) -> None:
        assert split_arguments(["usage", "--", "--quiet"], NOTHING)[1] == ["usage", "--", "--quiet"]

    def test_completes_from_the_environment(self) -> None:
        environment = Environment(
            {
                "BILLING_API_URL": "https://billing.example/api/",
                "BILLING_CUSTOMER_ID": "acme",
                "BILLING_TIMEOUT": "2m",
                "BILLING_LOG_LEVEL": "debug",
                "NO_COLOR": "1",
            }
        )
        options, _ = split_arguments([], environment)
        assert options.api_url == "https://billing.example"
        assert (options.account, options.account_given) == ("acme", False)
        assert (options.timeout, options.verbose, options.color) == (120.0, True, False)

    def test_prefers_the_command_line(self) -> None:
        options, _ = split_arguments(
            ["--timeout", "5", "--output", "~/x"], Environment({"BILLING_TIMEOUT": "2m", "HOME": "/home/a"})
        )
        assert options.timeout == 5.0
        assert options.output == Path("~/x").expanduser()

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--format", "xml"], "--format: xml is none of table, json, csv"),
            (["--account"], "--account needs a value"),
            (["--account", "--quiet"], "--account needs a value"),
            (["--quiet=1"], "--quiet takes no value"),
            (["--timeout", "soon"], "--timeout: 'soon' is not a duration such as 30s or 2m"),
            (["--api-url", "localhost"], "--api-url: localhost is not an address such as http://127.0.0.1:8087"),
        ],
    )
    def test_refuses_what_makes_no_sense(self, words: list[str], message: str) -> None:
        with pytest.raises(CliError) as caught:
            split_arguments(words, NOTHING)
        assert (caught.value.message, caught.value.exit_code) == (message, 2)

    @pytest.mark.parametrize(
        "words",
        [
            ["--token", "abc"],
            ["--api-key=abc"],
            ["invoice", "list", "--status=eyJhbGciOi"],
            ["operator", "deposit", "--notes", "sk_test_abc"],
            ["usage", "record", "whsec_abc", "1"],
            ["--account", "rk_live_abc"],
            ["--api-url", "https://me:secret@billing.example"],
        ],
    )
    def test_refuses_secrets_without_repeating_them(self, words: list[str]) -> None:
        with pytest.raises(CliError) as caught:
            split_arguments(words, NOTHING)
        assert (caught.value.message, caught.value.exit_code) == (SECRET_REFUSED, 2)


class TestEnvironment:
    def test_knows_older_names_and_those_of_the_deployment(self) -> None:
        environment = Environment(
            {"BILLING_ENV_ALIASES": "BILLING_API_TOKEN=ACME_TOKEN, BILLING_API_URL=X", "ACME_TOKEN": "t", "X": ""}
        )
        assert environment.get("BILLING_API_TOKEN") == "t"
        assert environment.get("BILLING_API_URL") is None

    @pytest.mark.parametrize(
        ("text", "seconds"), [("30s", 30.0), ("2m", 120.0), ("1h", 3600.0), ("500ms", 0.5), ("7", 7.0), ("1.5", 1.5)]
    )
    def test_reads_durations(self, text: str, seconds: float) -> None:
        assert parse_duration(text) == seconds

    @pytest.mark.parametrize("text", ["0", "-1", "soon", "", "1d"])
    def test_refuses_other_durations(self, text: str) -> None:
        with pytest.raises(ValueError, match="duration"):
            parse_duration(text)


class TestCompleteCommand:
    COMMANDS = {
        "invoice": SimpleNamespace(commands={"list": object(), "show": object()}),
        "customer": SimpleNamespace(commands={"show": object()}),
        "operator": SimpleNamespace(commands={"catalog": SimpleNamespace(commands={"get": object()})}),
        "balance": object(),
    }
    DEFAULTS: ClassVar[dict[tuple[str, ...], str]] = {("invoice",): "list", ("customer",): "show"}
    ALIASES: ClassVar[dict[tuple[str, ...], tuple[str, ...]]] = {("customer", "info"): ("show",)}

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("invoice", "invoice list"),
            ("invoice --limit 3", "invoice list --limit 3"),
            ("invoice show in_1", "invoice show in_1"),
            ("customer info", "customer show"),
            ("balance --x", "balance --x"),
            ("", "--help"),
            ("operator", "operator --help"),
            ("operator catalog", "operator catalog --help"),
            ("invoice -h", "invoice --help"),
        ],
    )
    def test_spells_the_command_out(self, words: str, expected: str) -> None:
        found = complete_command(words.split(), self.COMMANDS, defaults=self.DEFAULTS, aliases=self.ALIASES)
        assert found == expected.split()

    @pytest.mark.parametrize(
        ("words", "what", "hint"),
        [
            ("invioce list", "invioce", "valid here: invoice, customer, operator, balance"),
            ("operator catalog gte", "gte", "valid here: get"),
            ("operator --foo=1", "--foo", "valid here: catalog"),
        ],
    )
    def test_names_what_exists_instead(self, words: str, what: str, hint: str) -> None:
        with pytest.raises(CliError) as caught:
            complete_command(words.split(), self.COMMANDS, defaults=self.DEFAULTS, aliases=self.ALIASES)
        assert caught.value.message == f"unknown command or option: {what}"
        assert (caught.value.hint, caught.value.exit_code) == (hint, 2)
