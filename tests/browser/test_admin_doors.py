"""Signing in, and every page of the sidebar on an empty site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


class TestEmptySite:
    def test_every_page_of_the_sidebar_opens_and_teaches(
        self, open_window: Callable[..., Any], make_person: Callable[[str], Any]
    ) -> None:
        visitor = open_window()
        visitor.sign_in(make_person("admin").username)
        links = [anchor.get_attribute("href") for anchor in visitor.page.query_selector_all("#nav-sidebar-apps a")]
        assert len(links) > 15
        for link in links:
            visitor.go(link)
            assert visitor.page.is_visible("#nav-sidebar-apps"), link
            empty = visitor.page.query_selector(".ch-empty-list")
            assert empty is None or "Nothing here yet" not in empty.inner_text(), f"{link} teaches no next step"

    def test_a_wrong_password_opens_nothing(
        self, open_window: Callable[..., Any], make_person: Callable[[str], Any]
    ) -> None:
        visitor = open_window()
        visitor.go("/admin/")
        visitor.page.fill("input[name=username]", make_person("admin").username)
        visitor.page.fill("input[name=password]", "not-the-password")
        visitor.page.click("button[type=submit]")
        visitor.page.wait_for_selector("text=Please enter the correct username and password")
