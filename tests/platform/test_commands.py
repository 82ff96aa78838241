"""Commands of development and operations."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from billing_site.api import auth
from billing_site.platform.services import tokens


def issue(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    call_command("issue_token", *arguments)
    return capsys.readouterr().out.strip()


class TestIssueToken:
    def test_token_is_accepted_by_the_api(self, capsys: pytest.CaptureFixture[str]) -> None:
        token = issue(
            capsys, "--audience=internal", "--subject=ops", "--scope=billing:read", "--scope=usage:read", "--org=acme"
        )
        principal = auth.read_principal(auth.verify_token(token))
        assert (principal.audience, principal.subject, principal.org) == ("internal", "ops", "acme")
        assert principal.scopes == {"billing:read", "usage:read"}

    @pytest.mark.parametrize(("audience", "count"), [("public", 7), ("internal", 19)])
    def test_all_scopes_of_an_audience(self, capsys: pytest.CaptureFixture[str], audience: str, count: int) -> None:
        token = issue(capsys, f"--audience={audience}", "--subject=a", "--all-scopes", "--days=2")
        claims = jwt.decode(token, options={"verify_signature": False})
        assert len(claims["scope"].split()) == count
        assert claims["exp"] - claims["iat"] == 2 * 86_400
        assert "org" not in claims

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--audience=public"], "at least one --scope"),
            (["--audience=public", "--scope=billing:money"], "public token cannot use billing:money"),
            (["--audience=internal", "--scope=billing:all"], "No such scope: billing:all"),
            (["--audience=internal", "--all-scopes", "--days=0"], "between 1 and 366"),
            (["--audience=public", "--all-scopes", "--org=acme"], "--org limits internal tokens"),
        ],
    )
    def test_says_what_is_wrong(self, arguments: list[str], message: str) -> None:
        with pytest.raises(CommandError, match=message):
            call_command("issue_token", "--subject=a", *arguments)

    def test_needs_a_secret(self, settings: Any) -> None:
        settings.BILLING_JWT_SECRET = ""
        with pytest.raises(CommandError, match="BILLING_JWT_SECRET is not set"):
            call_command("issue_token", "--audience=public", "--subject=a", "--all-scopes")

    def test_every_scope_has_a_meaning(self) -> None:
        assert tokens.SCOPES.keys() == tokens.SCOPE_MEANINGS.keys()


@pytest.mark.django_db
class TestEnsureAdmin:
    def test_creates_once_then_updates(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("BILLING_ADMIN_USER", "root")
        monkeypatch.setenv("BILLING_ADMIN_PASSWORD", "first-password-of-many")
        call_command("ensure_admin")
        user = get_user_model().objects.get(username="root")
        assert user.is_staff
        assert user.is_superuser
        first_hash = user.password
        call_command("ensure_admin")
        user.refresh_from_db()
        assert user.password == first_hash  # the same password keeps the person signed in
        monkeypatch.setenv("BILLING_ADMIN_PASSWORD", "second-password-of-many")
        call_command("ensure_admin")
        user.refresh_from_db()
        assert user.check_password("second-password-of-many")
        assert "second-password" not in capsys.readouterr().out

    def test_makes_a_second_person_who_approves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BILLING_ADMIN_USER", "root")
        monkeypatch.setenv("BILLING_ADMIN_PASSWORD", "first-password-of-many")
        call_command("ensure_admin", "--approver", "second")
        call_command("ensure_admin", "--approver", "second")
        second = get_user_model().objects.get(username="second")
        assert (second.is_staff, second.is_superuser) == (True, False)
        assert second.check_password("first-password-of-many")
        assert second.has_perm("catalog.approve_catalog")

    def test_needs_both_variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("BILLING_ADMIN_USER", raising=False)
        with pytest.raises(CommandError, match="BILLING_ADMIN_PASSWORD"):
            call_command("ensure_admin")
        assert not get_user_model().objects.exists()
