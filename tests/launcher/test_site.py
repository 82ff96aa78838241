"""The environment the site and the tests run in."""

from __future__ import annotations

import socket

import environ
import pytest

from launcher.console import LauncherError
from launcher.site import (
    build_site_environment,
    build_test_environment,
    check_servers,
    has_own_database,
    read_user_environment,
)
from launcher.state import State


class TestBuildSiteEnvironment:
    def test_is_production_over_plain_http(self, state: State) -> None:
        environment = build_site_environment({"PATH": "/bin"}, state)
        assert "BILLING_DEBUG" not in environment
        assert environment["BILLING_INSECURE_HTTP"] == "true"
        assert len(environment["BILLING_SECRET_KEY"]) >= 50
        assert environment["BILLING_SERVER_DATA_DIR"] == str(state.folder)
        assert environ.Env().email_url_config(environment["BILLING_EMAIL_URL"]) == {
            **environ.Env().email_url_config("filemail:///any"),
            "EMAIL_FILE_PATH": str(state.folder / "mails"),
        }
        assert environment["PATH"].split(":") == [str(state.venv / "bin"), "/bin"]

    def test_the_users_variables_win(self, state: State) -> None:
        environment = build_site_environment({"BILLING_SECRET_KEY": "own", "BILLING_ADMIN_USER": "ada"}, state)
        assert environment["BILLING_SECRET_KEY"] == "own"
        assert environment["BILLING_ADMIN_USER"] == "ada"

    def test_an_empty_variable_is_an_unset_one(self, state: State) -> None:
        assert build_site_environment({"BILLING_SECRET_KEY": ""}, state)["BILLING_SECRET_KEY"] != ""

    def test_no_second_key_beside_a_key_set(self, state: State) -> None:
        environment = build_site_environment({"BILLING_JWT_KEYS": "https://id.example.com/jwks"}, state)
        assert "BILLING_JWT_SECRET" not in environment

    def test_answers_to_its_address_and_the_users_names(self, state: State) -> None:
        user = {"BILLING_ALLOWED_HOSTS": "billing.example.com"}
        hosts = build_site_environment(user, state, host="192.0.2.7")["BILLING_ALLOWED_HOSTS"].split(",")
        assert hosts[0] == "billing.example.com"
        assert {"127.0.0.1", "localhost", "192.0.2.7"} <= set(hosts)


class TestBuildTestEnvironment:
    def test_withholds_the_users_billing_settings(self, state: State) -> None:
        user = {
            "BILLING_COMPANY_NAME": "Own Ltd",
            "DATABASE_URL": "postgres://precious/data",
            "STRIPE_SECRET_KEY": "sk_live_1",
            "REDIS_URL": "redis://127.0.0.1:6379/5",
            "COUNTINGHOUSE_DATA": "/data",
        }
        environment = build_test_environment(user, state, database_url="postgres://test/db", folder="/folder")
        assert environment["BILLING_DATABASE_URL"] == "postgres://test/db"
        assert {"BILLING_COMPANY_NAME", "DATABASE_URL", "STRIPE_SECRET_KEY"} & environment.keys() == set()
        assert environment["REDIS_URL"] == "redis://127.0.0.1:6379/5"
        assert environment["COUNTINGHOUSE_DATA"] == "/data"


class TestReadUserEnvironment:
    def test_resolves_the_deployments_own_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("BILLING_DATABASE_URL", raising=False)
        monkeypatch.setenv("BILLING_ENV_ALIASES", "BILLING_DATABASE_URL=SHOP_DB, BILLING_REDIS_URL=ABSENT")
        monkeypatch.setenv("SHOP_DB", "postgres://shop/db")
        environment = read_user_environment()
        assert environment["BILLING_DATABASE_URL"] == "postgres://shop/db"
        assert has_own_database(environment)


class TestCheckServers:
    @pytest.mark.parametrize(
        ("name", "scheme", "what"), [("DATABASE_URL", "postgres", "database"), ("REDIS_URL", "redis", "broker")]
    )
    def test_names_the_variable_of_a_server_that_does_not_answer(self, name: str, scheme: str, what: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            check_servers({name: f"{scheme}://user@127.0.0.1:{port}/0"})
        with pytest.raises(LauncherError, match=f"the {what} of {name} does not answer at 127.0.0.1:{port}"):
            check_servers({name: f"{scheme}://user@127.0.0.1:{port}/0"})

    def test_leaves_socket_files_and_file_brokers_alone(self) -> None:
        check_servers(
            {"DATABASE_URL": "postgres://%2Fvar%2Frun%2Fpostgresql/db", "BILLING_BROKER_URL": "filesystem://"}
        )
