"""
A real Chromium against the running site.

The browser is Debian's `chromium` (or what `COUNTINGHOUSE_CHROMIUM` names). Without one these tests are skipped on a
developer's machine and fail where `CI` is set. Everything the browser complains about (script errors, refused
resources, violations of the Content-Security-Policy) is collected, and fails the test that asked for the page.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, sync_playwright

SCREENSHOTS = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "a-password-for-the-browser"
WIDTH, HEIGHT = 1440, 1000
Theme = Literal["light", "dark"]
BOTH: Final[tuple[Theme, ...]] = ("light", "dark")
# The walk goes through both; a single page is looked at in one, and in both where pictures are taken.
THEMES: Final = BOTH if os.environ.get("COUNTINGHOUSE_SCREENSHOTS") == "1" else BOTH[:1]


def find_chromium() -> str | None:
    """Return the path of a Chromium, or None."""
    names = (os.environ.get("COUNTINGHOUSE_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser, started once."""
    executable = find_chromium()
    if executable is None:
        message = "no Chromium found; install Debian's `chromium` or name one in COUNTINGHOUSE_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    # Playwright keeps an event loop running in this thread; Django would refuse the database there.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
    else:
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = before


class Visitor:
    """One signed-out browser window, and what went wrong in it."""

    def __init__(self, page: Page, base_url: str, theme: Theme) -> None:
        self.page, self.base_url, self.theme = page, base_url, theme
        self.complaints: list[str] = []
        page.on("console", self._hear_console)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("response", self._hear_response)

    def _hear_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{self.page.url}: {message.text}")

    def _hear_response(self, response: Response) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status} {response.url}")

    def sign_in(self, username: str) -> None:
        """Sign in through the form."""
        self.page.goto(f"{self.base_url}/admin/")
        self.page.fill("input[name=username]", username)
        self.page.fill("input[name=password]", PASSWORD)
        self.page.click("button[type=submit]")
        self.page.wait_for_selector("#nav-sidebar-apps")

    def go(self, path: str) -> None:
        """Open a path of the site and wait until everything it names is loaded."""
        self.page.goto(f"{self.base_url}{path}")

    def text(self) -> str:
        """Return what a person can read on the page."""
        return self.page.inner_text("body")

    def take(self, name: str, *, height: int = HEIGHT) -> None:
        """Keep a picture in docs/screenshots, where COUNTINGHOUSE_SCREENSHOTS=1 asks for it."""
        if os.environ.get("COUNTINGHOUSE_SCREENSHOTS") == "1":
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            self.page.set_viewport_size({"width": WIDTH, "height": height})
            self.page.wait_for_timeout(300)  # let the layout settle
            self.page.screenshot(path=SCREENSHOTS / f"{name}-{self.theme}.png")
            self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


@pytest.fixture
def open_window(chromium: Browser, live_server: Any) -> Iterator[Callable[..., Visitor]]:
    """Open a window: `open_window(theme="dark")`. At the end of the test no window may have complained."""
    contexts = []
    visitors: list[Visitor] = []

    def make(theme: Theme = "light") -> Visitor:
        context = chromium.new_context(color_scheme=theme, viewport={"width": WIDTH, "height": HEIGHT}, locale="en-GB")
        contexts.append(context)
        visitors.append(Visitor(context.new_page(), live_server.url, theme))
        return visitors[-1]

    yield make
    for context in contexts:
        context.close()
    assert [complaint for visitor in visitors for complaint in visitor.complaints] == []


@pytest.fixture
def sample(transactional_db: None) -> None:
    """The sample business: catalog, accounts, a month of usage and the invoices of one billing run."""
    call_command("load_sample", stdout=io.StringIO())


@pytest.fixture
def make_person(transactional_db: None) -> Callable[[str], User]:
    """Make someone with a role: `make_person("billing")`; "superuser" stands above roles."""

    def make(role: str) -> User:
        if role == "superuser":
            return User.objects.create_superuser("root", password=PASSWORD)
        user = User.objects.create_user(f"{role}-person", password=PASSWORD, is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        return user

    return make
