"""Dunning in the browser: the calendar, a case with what was tried, and how a mail reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from billing_site.kernel import clock
from invoicing.models import DunningCampaign, DunningCase, Invoice
from invoicing.services.collecting import collect_due
from tests.browser.conftest import THEMES
from tests.support import world
from tests.support.dunning_states import attach_card, pay

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
CARDS = ("insufficientlater", "expiredlater", "insufficientlater", "visa", "failsonrenewal")


def fail_some() -> None:
    """Let invoices of five accounts fail over the last days; one is paid from elsewhere."""
    begin = clock.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=5)
    world.publish(at=begin - timedelta(days=30))
    names = ("Harbour Freight", "Northwind", "Lakeside Labs", "Tern & Co", "Meadow Health")
    for number, (name, card) in enumerate(zip(names, CARDS, strict=True)):
        account = world.open_account(
            f"dunned-{number}", name=name, at=begin - timedelta(days=30), email=f"pay{number}@example.com"
        )
        attach_card(account, card, at=begin - timedelta(days=30))
        world.subscribe(account, "pro", at=begin + timedelta(days=number % 3))
    for days in range(6):
        collect_due(at=begin + timedelta(days=days))
    pay(DunningCase.objects.filter(account__name="Meadow Health").get().invoice, at=clock.now())


@pytest.mark.parametrize("theme", THEMES)
def test_the_calendar_and_a_case(
    open_window: Callable[..., Any], make_person: Callable[[str], Any], theme: str
) -> None:
    fail_some()
    make_person("billing")
    window = open_window(theme=theme)
    window.sign_in("billing-person")
    window.go(reverse("admin:invoicing_dunning_calendar"))
    for words in ("What is tried when", "Harbour Freight", "stored money only", "planned", "attempt 2 of 4"):
        assert words in window.text()
    window.take("dunning-calendar", height=1250)
    case = DunningCase.objects.filter(account__name="Harbour Freight").get()
    window.go(reverse("admin:invoicing_dunningcase_change", args=[case.pk]))
    for words in ("It is tried again at the next step.", "The card has insufficient funds."):
        assert words in window.text()
    campaign = DunningCampaign.objects.create(org_id=case.account.org_id, name="Patient", delays_hours=[72, 48])
    invoice = Invoice.objects.filter(account=case.account).get()
    window.go(reverse("admin:invoicing_dunningcampaign_mails", args=[campaign.pk]) + f"?invoice={invoice.number_text}")
    assert invoice.number_text in window.page.frame_locator("iframe.ch-mail").locator("body").inner_text()
