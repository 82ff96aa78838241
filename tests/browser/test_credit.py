"""Credit in the browser: given on an account's page, approved by another person, looked at, voided."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from accounts.models import Account, CreditGrant
from accounts.services.credit_burning import burn_credits
from accounts.terms.burning import Charge
from billing_site.kernel import clock
from billing_site.platform.models import Approval
from tests.browser.conftest import THEMES
from tests.support import world

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
CONFIRM = ".ch-buttons button[type=submit]"


@pytest.mark.parametrize("theme", THEMES)
def test_credit_is_given_approved_spent_and_voided(
    sample: None, open_window: Callable[..., Any], make_person: Callable[[str], Any], theme: str
) -> None:
    account = Account.objects.filter(currency="usd").order_by("id")[0]
    make_person("finance_lead")
    make_person("admin")
    asking, deciding = open_window(theme=theme), open_window(theme=theme)
    asking.sign_in("finance_lead-person")
    asking.go(reverse("admin:accounts_account_change", args=[account.pk]))
    asking.page.click("text=Money")
    asking.page.click("text=Grant credit")
    for name, value in {
        "amount": "250.00",
        "name": "Apology for Monday",
        "expires_in": "60",
        "meters": "",
        "tags": "goodwill",
        "reason": "Outage of 12 hours, ticket 4711",
    }.items():
        asking.page.fill(f"[name={name}]", value)
    asking.page.click(CONFIRM)
    asking.page.wait_for_selector("text=waits for the approval of another person")

    deciding.sign_in("admin-person")
    deciding.go(reverse("admin:platform_approval_change", args=[Approval.objects.get().pk]))
    assert "250.00" in deciding.text()
    assert "every line and tax" in deciding.text()
    deciding.go(reverse("admin:platform_approval_approve_request", args=[Approval.objects.get().pk]))
    deciding.page.fill("[name=reason]", "Agreed with support")
    with deciding.page.expect_navigation():
        deciding.page.click(CONFIRM)
    grant = CreditGrant.objects.get(name="Apology for Monday")

    at = clock.now() + timedelta(seconds=1)
    charges = [Charge("Pro, monthly fee", 9900, "usd"), Charge("Tax", 1881, "usd")]
    burn_credits(account=account, charges=charges, key="in_1", at=at, actor=world.TESTER)
    asking.go(reverse("admin:accounts_creditgrant_change", args=[grant.pk]))
    text = asking.text()
    for words in ("Apology for Monday", "132.19", "Pro, monthly fee", "Usable"):  # 250.00 - 99.00 - 18.81
        assert words in text
    asking.take("credit-grant", height=1500)
    asking.go(reverse("admin:accounts_account_change", args=[account.pk]))
    assert "Apology for Monday" in asking.text()
    asking.go(reverse("admin:accounts_creditgrant_void", args=[grant.pk]))
    asking.page.fill("[name=reason]", "Given to the wrong account")
    asking.page.click(CONFIRM)
    asking.page.wait_for_selector("text=is void")
