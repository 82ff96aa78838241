"""Every package stands in a declared room; nothing is put beside the house."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.source import APPS, ROOT, is_leftover, list_files, list_sources, name_of

TOP_LEVEL = frozenset(
    {
        ".ci",
        "accounts",
        "benchmarks",
        "billing_client",
        "billing_site",
        "catalog",
        "docs",
        "invoicing",
        "launcher",
        "metering",
        "templates",
        "tests",
    }
)
COMMON_ROOMS = frozenset({"admin", "api", "management", "migrations", "models", "queries", "services", "tasks"})
ROOMS = {
    "catalog": COMMON_ROOMS | {"pricing", "documents", "data"},
    "accounts": COMMON_ROOMS | {"terms"},
    "metering": COMMON_ROOMS | {"rating", "stores"},
    "invoicing": COMMON_ROOMS | {"calculation", "documents", "gateways", "rehearsal", "webhooks"},
    "billing_site": frozenset({"kernel", "platform", "api", "backoffice", "djstripe_migrations"}),
    "billing_client": frozenset({"cli", "data", "provider_sync", "usage_import"}),
    "tests": frozenset(
        {
            *("accounts", "backoffice", "billing_client", "catalog", "invoicing", "launcher", "metering", "platform"),
            *("api", "architecture", "browser", "concurrency", "factories", "faults", "kernel", "scenarios", "support"),
            *("end_to_end", "stripe_server", "unit"),
        }
    ),
}
ROOT_MODULES = {
    **dict.fromkeys(APPS, frozenset({"__init__.py", "apps.py"})),
    "billing_site": frozenset(
        {
            *("__init__.py", "asgi.py", "celery.py", "environment.py", "payment_settings.py", "schedules.py"),
            *("settings.py", "urls.py", "wsgi.py"),
        }
    ),
}
API_ROOM = frozenset({"serializers", "views"})
UNORDERED = frozenset({"migrations", "data"})  # no code that another room imports
VAGUE_NAMES = frozenset({"common", "helper", "helpers", "misc", "util", "utilities", "utils"})


def list_entries(folder: Path) -> set[str]:
    """Return the names right under `folder` that belong to the project."""
    depth = len(folder.parts)
    return {path.parts[depth] for path in list_files() if path.is_relative_to(folder)}


def list_folders(folder: Path) -> set[str]:
    return {name for name in list_entries(folder) if (folder / name).is_dir()}


class TestTopLevel:
    def test_has_only_declared_folders(self) -> None:
        assert list_folders(ROOT) - TOP_LEVEL == set()

    def test_leftovers_are_not_looked_at(self) -> None:
        assert is_leftover(Path("catalog/__pycache__/x.pyc"))
        assert is_leftover(Path(".venv/bin/python"))
        assert not is_leftover(Path(".ci/run"))
        assert not is_leftover(Path(".env.example"))


class TestRooms:
    @pytest.mark.parametrize("package", sorted(ROOMS))
    def test_of_a_package_are_declared(self, package: str) -> None:
        undeclared = list_folders(ROOT / package) - ROOMS[package]
        assert undeclared == set(), f"{package}: declare the room here and in the import order, or use an existing one"

    @pytest.mark.parametrize("package", sorted(ROOT_MODULES))
    def test_a_package_keeps_its_root_empty(self, package: str) -> None:
        modules = {name for name in list_entries(ROOT / package) if name.endswith(".py")}
        assert modules - ROOT_MODULES[package] == set()

    @pytest.mark.parametrize("app", APPS)
    def test_the_api_room_holds_serializers_and_views(self, app: str) -> None:
        assert list_folders(ROOT / app / "api") - API_ROOM == set()

    @pytest.mark.parametrize("app", APPS)
    def test_every_room_of_an_app_is_a_package(self, app: str) -> None:
        rooms = list_folders(ROOT / app)
        assert [room for room in rooms if not (ROOT / app / room / "__init__.py").is_file()] == []


class TestNames:
    def test_no_module_has_a_name_that_says_nothing(self) -> None:
        sources = list_sources("billing_site", *APPS, "billing_client", "launcher", "tests", "benchmarks")
        vague = [name_of(path) for path in sources if VAGUE_NAMES & {path.stem, path.parent.name}]
        assert vague == []

    def test_no_folder_of_code_is_forgotten_by_the_import_order(self) -> None:
        contracts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        rooms = {f"{app}.{room}" for app in APPS for room in list_folders(ROOT / app) if room not in UNORDERED}
        assert sorted(room for room in rooms if room not in contracts) == []
