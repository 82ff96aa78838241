"""billing operator stripe test, and where both commands find the key, the address and the version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.billing_client.conftest import Billing
from tests.billing_client.provider import make_catalog
from tests.stripe_server.server import StripeServer

TEST = ("operator", "stripe", "test")


@pytest.fixture
def key_file(provider: StripeServer, tmp_path: Path) -> Path:
    file = tmp_path / "stripe-key"
    file.write_text(f"  {provider.test_key}\n")
    file.chmod(0o600)
    return file


class TestProviderTest:
    def test_tells_mode_and_version_and_nothing_else(self, billing: Billing, provider: StripeServer) -> None:
        outcome = billing(*TEST)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.splitlines() == [
            "Mode  API version",
            "----  -----------------",
            "test  2026-04-22.dahlia",
        ]
        assert [(request.method, request.path) for request in provider.requests] == [("GET", "/v1/balance")]

    def test_tells_live_mode(self, billing: Billing, provider: StripeServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BILLING_STRIPE_SECRET_KEY", provider.live_key)
        outcome = billing(*TEST, "--format=json", "--stripe-api-version=2025-03-31.basil")
        assert outcome.data == {"mode": "live", "livemode": True, "api_version": "2025-03-31.basil"}

    def test_never_shows_the_key(self, billing: Billing, provider: StripeServer) -> None:
        outcome = billing(*TEST, "--verbose", "--format=csv")
        assert outcome.out.splitlines() == ["mode,api_version", "test,2026-04-22.dahlia"]
        assert f"GET {provider.url}/v1/balance -> 200" in outcome.err
        assert "request req_" in outcome.err
        assert provider.test_key not in outcome.out + outcome.err

    def test_says_when_the_key_is_not_accepted(
        self, billing: Billing, provider: StripeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = "sk_" + "test_" + "someotherkey"
        monkeypatch.setenv("BILLING_STRIPE_SECRET_KEY", key)
        outcome = billing(*TEST, "--verbose")
        assert (outcome.code, outcome.out) == (1, "")
        assert "Error: payment provider error: the key was not accepted\n" in outcome.err
        assert "Hint: check key, mode (test or live) and permissions\n" in outcome.err
        assert "status 401, request req_" in outcome.err
        assert key[:12] not in outcome.err

    def test_says_when_nothing_answers(self, billing: Billing, provider: StripeServer) -> None:
        outcome = billing(*TEST, "--stripe-api-url", "http://127.0.0.1:1")
        assert outcome.code == 1
        assert outcome.err == (
            "Error: payment provider error: cannot be reached at http://127.0.0.1:1: Connection refused\n"
            "Hint: try again\n"
        )

    def test_reports_a_version_that_is_none(self, billing: Billing, provider: StripeServer) -> None:
        outcome = billing(*TEST, "--stripe-api-version", "newest")
        assert outcome.code == 1
        assert "Invalid Stripe API version: newest" in outcome.err
        assert billing(*TEST, "--stripe-api-version", "two words").code == 2


class TestKeys:
    def test_come_from_a_file(
        self, billing: Billing, provider: StripeServer, key_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BILLING_STRIPE_SECRET_KEY", "sk_" + "test_" + "other")
        outcome = billing(*TEST, "--api-key-file", str(key_file))
        assert (outcome.code, outcome.err) == (0, "")

    def test_in_a_file_that_others_can_read_give_a_warning(
        self, billing: Billing, provider: StripeServer, key_file: Path
    ) -> None:
        key_file.chmod(0o644)
        outcome = billing(*TEST, "--api-key-file", str(key_file))
        assert outcome.code == 0
        assert outcome.err == f"Warning: the key file {key_file} can be read by others; chmod 600 {key_file}\n"

    @pytest.mark.parametrize("name", ["STRIPE_SECRET_KEY", "STRIPE_LIVE_SECRET_KEY", "STRIPE_TEST_SECRET_KEY"])
    def test_come_from_other_names_too(
        self, billing: Billing, provider: StripeServer, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.delenv("BILLING_STRIPE_SECRET_KEY")
        monkeypatch.setenv(name, provider.test_key)
        assert billing(*TEST).code == 0

    def test_that_are_missing_are_asked_for(
        self, billing: Billing, provider: StripeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("BILLING_STRIPE_SECRET_KEY")
        outcome = billing(*TEST)
        assert outcome.code == 1
        assert outcome.err == (
            "Error: no provider key found\n"
            "Hint: searched --api-key-file or BILLING_STRIPE_SECRET_KEY and its other names\n"
        )

    @pytest.mark.parametrize("place", ["environment", "file"])
    @pytest.mark.parametrize(
        ("key", "words"),
        [
            ("pk_" + "test_" + "x" * 24, "publishable key"),
            ("whsec_" + "x" * 24, "no secret key"),
            ("sk_" + "test_" + "two words", "no secret key"),
        ],
    )
    def test_of_another_kind_are_refused(
        self,
        billing: Billing,
        provider: StripeServer,
        key_file: Path,
        monkeypatch: pytest.MonkeyPatch,
        place: str,
        key: str,
        words: str,
    ) -> None:
        monkeypatch.setenv("BILLING_STRIPE_SECRET_KEY", key)
        key_file.write_text(key)
        outcome = billing(*TEST, *(["--api-key-file", str(key_file)] if place == "file" else []))
        assert (outcome.code, outcome.out, provider.requests) == (2, "", [])
        assert words in outcome.err
        assert key not in outcome.err

    @pytest.mark.parametrize("prefix", ["sk_", "rk_", "pk_"])
    @pytest.mark.parametrize("form", ["--api-key-file={}", "--api-key={}", "--api-key-file {}", "{}"])
    def test_on_the_command_line_are_refused(
        self, billing: Billing, provider: StripeServer, prefix: str, form: str
    ) -> None:
        key = f"{prefix}test_{'x' * 24}"
        outcome = billing(*TEST, *form.format(key).split())
        assert (outcome.code, outcome.out, provider.requests) == (2, "", [])
        assert key not in outcome.err or (prefix, form) == ("pk_", "{}")  # what is publishable is no secret

    def test_in_no_file_are_not_found(self, billing: Billing, provider: StripeServer, tmp_path: Path) -> None:
        outcome = billing(*TEST, "--api-key-file", str(tmp_path / "none"))
        assert outcome.code == 1
        assert "cannot read the key file" in outcome.err


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            "http://api.stripe.com",
            "http://10.0.0.1:80",
            "ftp://127.0.0.1",
            "127.0.0.1:80",
            "https://user@host",
            "https://api.stripe.com/?a=b",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
        ],
    )
    def test_that_would_show_the_key_are_refused(self, billing: Billing, provider: StripeServer, url: str) -> None:
        outcome = billing(*TEST, "--stripe-api-url", url)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("Error: --stripe-api-url: ")

    def test_may_be_this_machines_and_end_in_the_version(
        self, billing: Billing, provider: StripeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("BILLING_STRIPE_API_URL")
        monkeypatch.setenv("STRIPE_API_BASE", f"{provider.url.replace('127.0.0.1', 'localhost')}/v1/")
        assert billing(*TEST).code == 0

    def test_default_to_the_real_one(self) -> None:
        from billing_client.provider_sync.connection import DEFAULT_API_URL

        assert DEFAULT_API_URL == "https://api.stripe.com"


class TestVersion:
    def test_is_the_one_of_the_server(self) -> None:
        from django.conf import settings

        from billing_client.provider_sync.connection import DEFAULT_API_VERSION

        assert settings.STRIPE_API_VERSION == DEFAULT_API_VERSION

    def test_comes_from_the_environment(
        self, billing: Billing, provider: StripeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STRIPE_API_VERSION", "2025-03-31.basil")
        billing(*TEST)
        assert provider.requests[0].headers["stripe-version"] == "2025-03-31.basil"


class TestSync:
    def test_needs_a_file(self, billing: Billing, provider: StripeServer) -> None:
        outcome = billing("operator", "stripe", "catalog", "sync")
        assert outcome.code == 2
        assert outcome.err.startswith("Error: --file is required\n")

    def test_reads_stdin(
        self, billing: Billing, provider: StripeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        file = tmp_path / "stdin"
        file.write_text(json.dumps(make_catalog()))
        with file.open() as stream:
            monkeypatch.setattr("sys.stdin", stream)
            outcome = billing("operator", "stripe", "catalog", "sync", "--file=-", "--format=json")
        assert outcome.code == 0
        assert len(provider.objects("price")) == 2

    def test_reports_a_file_that_is_not_there(self, billing: Billing, provider: StripeServer, tmp_path: Path) -> None:
        outcome = billing("operator", "stripe", "catalog", "sync", "--file", str(tmp_path / "none.json"))
        assert outcome.code == 1
        assert "No such file" in outcome.err

    def test_is_listed_under_its_groups(self, billing: Billing) -> None:
        assert "sync" in billing("operator", "stripe", "catalog").out
        out = billing("operator", "stripe", "--help").out
        assert "test" in out
        assert "catalog" in out
