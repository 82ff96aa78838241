"""The admin pages of jobs: who may start what, what is refused, what a finished job shows and hands out."""

from __future__ import annotations

import html
import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import Account
from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from billing_site.platform.models import Event
from catalog.services.drafts import create_draft
from invoicing.models import BillingJob, Invoice, Seller
from invoicing.queries import account_export
from invoicing.services.billing_jobs import purge_job_files, work_job
from tests.support import world

pytestmark = pytest.mark.django_db

LIST = "/admin/invoicing/billingjob/"
ACTIONS = ("new-dry-run", "new-what-if", "new-shadow", "new-account-data", "new-journal", "new-report")


@pytest.fixture
def account() -> Account:
    """One account with a fee and usage in November, billed until December."""
    world.publish()
    account = world.open_account("alice", name="Alice <Ltd>")
    world.subscribe(account, "pro")
    world.use(account, "input_tokens", [2_000_000], at=world.NOVEMBER + timedelta(days=4))
    world.run_cycle(as_of=world.DECEMBER)
    return account


def sign_in(role: str = "billing") -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def ask(client: Client, action: str, **values: Any) -> Any:
    given = {"_confirmed": "1", "file_format": "csv", "reason": "for the board", **values}
    return client.post(f"{LIST}{action}/", given)


def work(job: BillingJob) -> BillingJob:
    return work_job(job_id=job.pk, now=clock.now, actor=SYSTEM)


def text_of(response: Any) -> str:
    return " ".join(html.unescape(response.content.decode()).split())


def read(response: Any) -> bytes:
    return b"".join(response.streaming_content)


class TestStarting:
    @pytest.mark.parametrize("action", ACTIONS)
    def test_takes_the_permission(self, account: Account, action: str) -> None:
        assert sign_in("viewer").get(f"{LIST}{action}/").status_code == 403
        page = sign_in("billing").get(f"{LIST}{action}/")
        assert page.status_code == 200 and "file_format" in page.context["form"].fields

    def test_a_viewer_sees_no_button(self, account: Account) -> None:
        assert "new-dry-run" not in text_of(sign_in("viewer").get(LIST))
        assert "new-dry-run" in text_of(sign_in("billing").get(LIST))

    def test_of_a_dry_run_leads_to_its_page(self, account: Account) -> None:
        client = sign_in()
        response = ask(client, "new-dry-run", org_id="default", as_of="2024-01-01")
        job = BillingJob.objects.get()
        assert response["Location"] == reverse("admin:invoicing_billingjob_change", args=[job.pk])
        assert (job.requested_by, job.reason, job.org_id) == ("staff:ada-billing", "for the board", "default")
        page = client.get(response["Location"])
        assert "Waiting for a worker." in text_of(page) and "Call off" in text_of(page)
        assert page.context["is_live"] is True
        work(job)
        page = client.get(response["Location"])
        for expected in (
            "Subscriptions due",
            "10.00 USD",
            "dry-run-default-2024-01-01.csv",
            "default, as of 2024-01-01",
        ):
            assert expected in text_of(page).replace('</span> <span class="ch-currency">', " "), expected
        assert "Call off" not in text_of(page)

    def test_of_a_what_if_takes_a_draft_or_a_file_and_not_both(self, account: Account) -> None:
        client = sign_in()
        draft = create_draft(
            title="Spring", at=world.NOVEMBER, actor=world.TESTER, document=world.make_document(fee=1100)
        ).draft
        file = json.dumps(world.make_document(fee=1200)).encode()
        for given in ({}, {"draft": draft.pk, "upload": SimpleUploadedFile("new.json", file)}):
            assert "one of them" in text_of(ask(client, "new-what-if", period="2023-11", **given))
        assert not BillingJob.objects.exists()
        ask(client, "new-what-if", period="2023-11", draft=draft.pk)
        ask(client, "new-what-if", period="2023-11", upload=SimpleUploadedFile("new.json", file))
        for job, more in zip(BillingJob.objects.order_by("id"), (200, 400), strict=True):
            # two fees of November's invoices, 1.00 or 2.00 more each
            (total,) = work(job).summary["totals"]
            assert total["would_be"] - total["issued"] == more
        page = text_of(client.get(reverse("admin:invoicing_billingjob_change", args=[job.pk])))
        assert "prices of new.json" in page and "Alice <Ltd>" in page

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"{", "Line 1"),
            (b"\xff", "no text in UTF-8"),
            (b'{"version": 1, "plans": 3}', "wrong"),
        ],
    )
    def test_of_a_what_if_refuses_what_is_no_catalog(self, account: Account, content: bytes, said: str) -> None:
        response = ask(sign_in(), "new-what-if", period="2023-11", upload=SimpleUploadedFile("new.json", content))
        assert said in text_of(response)
        assert not BillingJob.objects.exists()

    @pytest.mark.parametrize(
        ("action", "values", "said"),
        [
            ("new-shadow", {"period": "November"}, "A month is written like 2026-10."),
            ("new-shadow", {"period": "2023-11", "accounts": "alice nobody"}, "There is no account nobody."),
            ("new-account-data", {"account": "nobody"}, "There is no account with this id"),
            ("new-account-data", {"account": "alice", "start": "2024-02-01", "end": "2024-01-01"}, "before the"),
            ("new-report", {"report": "nope"}, "not one of the available choices"),
            ("new-dry-run", {"org_id": "elsewhere"}, "not one of the available choices"),
            ("new-dry-run", {"org_id": "default", "reason": ""}, "required"),
        ],
    )
    def test_refuses(self, account: Account, action: str, values: dict[str, str], said: str) -> None:
        assert said in text_of(ask(sign_in(), action, **values))
        assert not BillingJob.objects.exists()

    def test_of_the_rest(self, account: Account) -> None:
        client = sign_in()
        ask(client, "new-shadow", period="2023-11", accounts="alice", org_id="default")
        ask(client, "new-account-data", account="alice", file_format="json")
        ask(client, "new-journal", seller=str(Seller.objects.get().pk), month="2023-11", file_format="xlsx")
        ask(client, "new-report", report="aging", currency="USD")
        assert [work(job).status for job in BillingJob.objects.order_by("id")] == ["succeeded"] * 4
        listed = text_of(client.get(LIST))
        for expected in (
            "Shadow re-run",
            "1 account",
            "Alice <Ltd>, JSON",
            "in usd",
            "aging",
        ):
            assert expected in listed, expected
        shadow = BillingJob.objects.earliest("id")
        page = text_of(client.get(reverse("admin:invoicing_billingjob_change", args=[shadow.pk])))
        assert "Every invoice comes out the same, to the cent." in page


class TestFollowing:
    def test_answers_how_far_it_is(self, account: Account) -> None:
        client = sign_in()
        ask(client, "new-report", report="aging")
        job = BillingJob.objects.get()
        BillingJob.objects.update(done=1200, total=4000)
        answer = client.get(reverse("admin:invoicing_billingjob_progress", args=[job.pk])).json()
        assert answer["state"] == "pending" and "1,200 of 4,000" in answer["html"]

    def test_a_failure_is_told_in_words(self, account: Account) -> None:
        client = sign_in()
        ask(client, "new-report", report="aging")
        BillingJob.objects.update(parameters={"report": "gone"})
        job = work(BillingJob.objects.get())
        page = text_of(client.get(reverse("admin:invoicing_billingjob_change", args=[job.pk])))
        assert "No such report, or not visible to you." in page and "Failed" in page

    def test_is_called_off(self, account: Account) -> None:
        client = sign_in()
        ask(client, "new-report", report="aging")
        job = BillingJob.objects.get()
        address = f"{LIST}{job.pk}/cancel/"
        assert sign_in("viewer").post(address, {"_confirmed": "1", "reason": "not needed"}).status_code == 403
        client.post(address, {"_confirmed": "1", "reason": "not needed"})
        job.refresh_from_db()
        assert job.status == "canceled"
        assert Event.objects.get(type="billing_job.canceled").reason == "not needed"


class TestFile:
    def test_is_downloaded_with_a_trace(self, account: Account) -> None:
        client = sign_in()
        ask(client, "new-account-data", account="alice")
        job = work(BillingJob.objects.get())
        response = client.get(reverse("admin:invoicing_billingjob_file", args=[job.pk]))
        assert response["Content-Disposition"] == 'attachment; filename="account-alice.zip"'
        content = read(response)
        assert len(content) == int(response["Content-Length"])
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert b"alice" in archive.read("customer.csv")
        event = Event.objects.get(type="billing_job.downloaded")
        assert (event.actor_id, event.account_id) == ("ada-billing", account.pk)

    def test_is_gone_after_some_days(self, account: Account) -> None:
        client = sign_in()
        ask(client, "new-report", report="aging")
        job = work(BillingJob.objects.get())
        purge_job_files(at=clock.now() + timedelta(days=400))
        response = client.get(reverse("admin:invoicing_billingjob_file", args=[job.pk]))
        assert (response.status_code, response.content) == (410, b"Its file was dropped; start it again.")
        assert "dropped since" in text_of(client.get(reverse("admin:invoicing_billingjob_change", args=[job.pk])))


class TestAccountExport:
    def test_is_sent_at_once_where_there_is_little(self, account: Account) -> None:
        client = sign_in()
        address = reverse("admin:invoicing_billingjob_export", args=[account.pk])
        assert address in text_of(client.get(reverse("admin:accounts_account_change", args=[account.pk])))
        with clock.travel(world.DECEMBER):
            content = read(client.get(address))
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            invoices = archive.read("invoices.csv").decode().splitlines()
        assert len(invoices) == 1 + Invoice.objects.filter(account=account).count()
        assert Event.objects.get(type="account.exported").account_id == account.pk

    def test_becomes_a_job_where_there_is_much(self, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(account_export, "LARGE", 1)
        client = sign_in()
        response = client.get(reverse("admin:invoicing_billingjob_export", args=[account.pk]), follow=True)
        assert response.context["form"].initial["account"] == account.public_id
        assert "a job writes it to a file" in text_of(response)
        assert not Event.objects.filter(type="account.exported").exists()

    def test_takes_the_permission(self, account: Account) -> None:
        client = sign_in("viewer")
        address = reverse("admin:invoicing_billingjob_export", args=[account.pk])
        assert client.get(address).status_code == 403
        assert address not in text_of(client.get(reverse("admin:accounts_account_change", args=[account.pk])))
