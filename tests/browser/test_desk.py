"""A customer is served: an upgrade looked at and made, a credit asked for and approved by somebody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from accounts.models import Account, Subscription
from accounts.queries.invoice_credit import get_invoice_credit
from billing_site.backoffice.display import format_amount
from billing_site.platform.models import Approval
from invoicing.models import Invoice
from tests.browser.conftest import PASSWORD, THEMES

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
CONFIRM = ".ch-buttons button[type=submit]"
OpenWindow = Callable[..., Any]


def make_colleague(role: str, name: str) -> User:
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def change_url(obj: Any) -> str:
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])


def upgrade(support: Any, account: Account, subscription: Subscription) -> list[str]:
    """Preview two more seats from the account's page, confirm, and return the amounts that were shown."""
    page = support.page
    support.go(change_url(account))
    page.click(f"a[href='{reverse('admin:accounts_subscription_change_terms', args=[subscription.pk])}']")
    page.wait_for_selector("input[name=quantity]")
    page.fill("input[name=quantity]", "3")
    page.fill("textarea[name=reason]", "The customer hires two people")
    page.click("button:has-text('Preview')")
    page.wait_for_selector(".ch-decide")
    assert Invoice.objects.filter(account=account).count() == support.known
    shown = [text.strip() for text in page.locator(".ch-paper tbody td:last-child").all_inner_texts()]
    assert "Nothing is invoiced" not in support.text()
    support.take("subscription-preview", height=1010)
    page.click("button:has-text('Edit')")
    page.wait_for_selector("input[name=quantity]")
    assert page.input_value("input[name=quantity]") == "3"
    page.click("button:has-text('Preview')")
    page.wait_for_selector(".ch-decide")
    page.click("button:has-text('Change it')")
    page.wait_for_selector("text=The terms of")
    return shown


def ask_for_credit(support: Any, account: Account) -> Approval:
    page = support.page
    support.go(change_url(account))
    page.click("text=Money")
    page.click("text=Adjust invoice credit")
    page.fill("input[name=amount]", "250.00")
    page.fill("textarea[name=reason]", "Outage of twelve hours on Monday")
    page.click(CONFIRM)
    page.wait_for_selector("text=another person must approve the credit")
    return Approval.objects.get()


@pytest.mark.parametrize("theme", THEMES)
def test_a_customer_is_served(sample: None, open_window: OpenWindow, theme: str) -> None:
    account = Account.objects.get(external_id="acme")
    subscription = account.subscriptions.get(plan_version__plan__key="pro")
    make_colleague("support", "sue")
    make_colleague("finance_lead", "fiona")
    support, lead = open_window(theme=theme), open_window(theme=theme)
    support.sign_in("sue")
    support.known = Invoice.objects.filter(account=account).count()

    shown = upgrade(support, account, subscription)
    billed = Invoice.objects.filter(account=account).latest("id")
    amounts = [f"{format_amount(line.amount, line.currency)} USD" for line in billed.lines.order_by("position")]
    assert shown == amounts
    assert len(amounts) == 2
    assert billed.number_text in support.text()

    support.go(change_url(account))
    text = support.text()
    for expected in ("subscription.updated", "“The customer hires two people”", "Quantity 1 → 3", "by sue"):
        assert expected in " ".join(text.split())
    fee = 3 * 9900  # three seats of Pro, 99.00 each, in every month to come
    assert f"{format_amount(fee, 'usd')}" in text
    support.take("account", height=1560)

    approval = ask_for_credit(support, account)
    assert get_invoice_credit(account_id=account.pk, currency="usd") == 0
    support.go(change_url(approval))
    assert "You asked for this yourself: another person must approve it." in support.text()
    assert support.page.query_selector("a[href$='/approve/']") is None

    lead.sign_in("fiona")
    lead.go(f"{reverse('admin:platform_approval_changelist')}?queue=decide")
    lead.page.click(f"text={approval.title}")
    lead.page.wait_for_selector("text=Outage of twelve hours on Monday")
    lead.page.click("a[href$='/approve/']")
    lead.page.wait_for_selector("textarea[name=reason]")
    lead.page.click(CONFIRM)
    lead.page.wait_for_selector("text=Approved and done")
    assert get_invoice_credit(account_id=account.pk, currency="usd") == 25_000
    support.go(change_url(account))
    assert "250.00" in support.page.inner_text(".ch-metric:has-text('Invoice credit')")


def test_nobody_approves_their_own(sample: None, open_window: OpenWindow) -> None:
    """A finance lead may approve, but not what they asked for themselves."""
    account = Account.objects.get(external_id="acme")
    make_colleague("finance_lead", "fiona")
    lead = open_window()
    lead.sign_in("fiona")
    approval = ask_for_credit(lead, account)
    address = reverse("admin:platform_approval_approve_request", args=[approval.pk])
    lead.go(address)
    assert "You asked for this yourself" in lead.text()
    assert lead.page.url.endswith(change_url(approval))
    assert Approval.objects.get().status == "pending"
    assert get_invoice_credit(account_id=account.pk, currency="usd") == 0
