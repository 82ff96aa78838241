"""The environment the site's processes run in, and the servers they lean on."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from launcher.console import LauncherError
from launcher.state import State, read_json
from launcher.venv import PYTHON_NAMES

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
ADMIN_USER = "admin"
DATABASE_NAMES = ("BILLING_DATABASE_URL", "DATABASE_URL")
BROKER_NAMES = ("BILLING_BROKER_URL", "BILLING_REDIS_URL", "REDIS_URL")
WITHHELD_FROM_TESTS = ("BILLING_", "STRIPE_", "DJSTRIPE_", "DJANGO_", "DATABASE_URL")


def read_user_environment() -> dict[str, str]:
    """Return the caller's environment, with the deployment's own variable names (BILLING_ENV_ALIASES) resolved."""
    environment = {name: value for name, value in os.environ.items() if name not in PYTHON_NAMES}
    for pair in filter(None, (part.strip() for part in environment.get("BILLING_ENV_ALIASES", "").split(","))):
        name, _, other = pair.partition("=")
        if other in environment:
            environment.setdefault(name, environment[other])
    return environment


def first_of(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def has_own_database(environment: Mapping[str, str]) -> bool:
    """True when the user named a database, so that the private one is not needed."""
    return bool(first_of(environment, DATABASE_NAMES) or environment.get("BILLING_DB_HOST"))


def with_virtual_environment(environment: Mapping[str, str], state: State) -> dict[str, str]:
    """Return the environment with `.venv` activated."""
    path = f"{state.venv / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return {**environment, "VIRTUAL_ENV": str(state.venv), "PATH": path, "PYTHONUNBUFFERED": "1"}


def build_site_environment(user: Mapping[str, str], state: State, *, host: str = "127.0.0.1") -> dict[str, str]:
    """
    Return what the site needs to run here: the user's own variables win over the launcher's.

    Production settings over plain HTTP, with this checkout's secrets and folders.
    """
    secrets = state.secrets()
    hosts = [user.get("BILLING_ALLOWED_HOSTS", ""), *LOOPBACK]
    if host not in LOOPBACK:
        hosts += [host, socket.gethostname()]
    defaults = {
        "DJANGO_SETTINGS_MODULE": "billing_site.settings",
        "BILLING_SECRET_KEY": secrets["secret_key"],
        "BILLING_INSECURE_HTTP": "true",
        "BILLING_LOG_JSON": "false",
        "BILLING_SERVER_DATA_DIR": str(state.folder),
        "BILLING_STATIC_FROM_SOURCE": "true",
        "BILLING_BROKER_PREFIX": f"countinghouse-{secrets['database_password'][:8]}-",
        # Mail is kept as files beside the data: nothing leaves the machine.
        "BILLING_EMAIL_URL": f"filemail:///{quote(str(state.folder / 'mails'))}",
        "BILLING_ADMIN_USER": ADMIN_USER,
        "BILLING_ADMIN_PASSWORD": secrets["admin_password"],
    }
    if not user.get("BILLING_JWT_KEYS"):
        defaults["BILLING_JWT_SECRET"] = secrets["jwt_secret"]
    environment = {**defaults, **{name: value for name, value in user.items() if value or name not in defaults}}
    environment["BILLING_ALLOWED_HOSTS"] = ",".join(dict.fromkeys(name for name in hosts if name))
    return with_virtual_environment(environment, state)


def add_client_access(environment: dict[str, str], state: State) -> None:
    """Point the `billing` command at the running site, unless the user points it elsewhere."""
    access = read_json(state.access)
    keys = {"BILLING_API_URL": "url", "BILLING_API_TOKEN": "token", "BILLING_OPERATOR_TOKEN": "token"}
    for name, key in keys.items():
        if access.get(key):
            environment.setdefault(name, access[key])


def build_test_environment(user: Mapping[str, str], state: State, *, database_url: str, folder: str) -> dict[str, str]:
    """Return the environment of the tests: nothing of the user's billing settings, apart from BILLING_TEST_*."""
    kept = {
        name: value
        for name, value in user.items()
        if name.startswith("BILLING_TEST_") or not name.startswith(WITHHELD_FROM_TESTS)
    }
    kept |= {
        "BILLING_DEBUG": "true",
        "BILLING_TESTING": "true",
        "BILLING_DATABASE_URL": database_url,
        "BILLING_SERVER_DATA_DIR": folder,
        "BILLING_STATIC_ROOT": f"{folder}/static",
    }
    return with_virtual_environment(kept, state)


def check_servers(environment: Mapping[str, str]) -> None:
    """:raises LauncherError: if a database or broker the user named does not answer."""
    for names, default_port, what in ((DATABASE_NAMES, 5432, "database"), (BROKER_NAMES, 6379, "broker")):
        name = next((name for name in names if environment.get(name)), None)
        if name is None:
            continue
        address = urlsplit(environment[name])
        if not address.hostname or "%2f" in address.hostname.lower() or address.scheme.startswith("unix"):
            continue  # a socket file, or a broker of files
        port = address.port or (5672 if address.scheme.startswith("amqp") else default_port)
        try:
            socket.create_connection((address.hostname, port), timeout=5).close()
        except OSError as error:
            hint = "to use a private PostgreSQL" if what == "database" else "to do without a broker server"
            raise LauncherError(
                f"the {what} of {name} does not answer at {address.hostname}:{port} ({error}). "
                f"Start it, correct {name}, or unset it {hint}."
            ) from error
