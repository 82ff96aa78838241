"""
The sandbox a story lives in: an organization, accounts and a test clock of its own.

Nothing of it can meet real data: the organization's name is made for this one run, handles of accounts begin with it,
document numbers come from its own seller, and its accounts stand on its own clock.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from django.db import connection, transaction

from accounts.models import Account, Subscription, SubscriptionSchedule
from accounts.services.accounts import create_account
from accounts.services.test_clocks import advance_test_clock, create_test_clock
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, NotFound
from invoicing.models import Invoice, InvoiceReview, ReviewStatus
from invoicing.rehearsal.policies import DEFAULTS
from invoicing.rehearsal.story import Story
from invoicing.services.sellers import ensure_default_seller, update_seller

ACTOR = Actor("system", "rehearse")


class SetUpRefused(Exception):
    """The product refuses what the story begins with; `line` is where that stands."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


class StepRefused(DomainError):
    """A step that cannot be done in the story, whatever the product would say."""

    code, title, status = "step_impossible", "The story does not lead here", 409


class Refused(DomainError):
    """What the product wrote down as refused instead of raising it: a row of a run or of a move, with its code."""

    title, status = "Refused", 422

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code  # type: ignore[misc]


class World:
    """What a story's steps act on. `now` is the story's present."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.now = story.start
        self.actor = ACTOR
        self.org_id = f"rehearsal-{uuid.uuid4().hex[:16]}"
        self.accounts: dict[str, uuid.UUID] = {}
        self.subscriptions: dict[str, uuid.UUID] = {}
        self.schedules: dict[str, uuid.UUID] = {}
        self.payment_methods: dict[str, uuid.UUID] = {}
        self.alerts: dict[str, uuid.UUID] = {}
        self._clock_id: uuid.UUID | None = None

    def set_up(self) -> None:
        """
        Publish the catalog, set the policies, open the accounts; all at the story's start.

        :raises SetUpRefused: naming the line, when the product refuses one of them.
        """
        story, at = self.story, self.now
        clock = create_test_clock(name=self.org_id, now_at=at, at=at, actor=self.actor, reason=story.title)
        self._clock_id = clock.pk
        with _at_line(story.catalog.line):
            story.catalog.publish(org_id=self.org_id, at=at, actor=self.actor)
        for beside in story.catalog.beside:
            with _at_line(beside.line):
                beside.create(org_id=self.org_id, at=at, actor=self.actor)
        seller = ensure_default_seller(self.org_id)
        with _at_line(story.settings.line):
            changes = {**DEFAULTS, **story.settings.seller}
            update_seller(seller_id=seller.id, changes=changes, at=at, actor=self.actor)
        for account in story.accounts.values():
            with _at_line(account.line):
                opened = create_account(
                    external_id=f"{self.org_id}/{account.id}",
                    org_id=self.org_id,
                    org_name=story.title[:255],
                    at=at,
                    actor=self.actor,
                    with_default_plan=False,
                    test_clock=clock,
                    **account.profile,
                )
            self.accounts[account.id] = opened.pk

    # ---- time ---------------------------------------------------------------------------------------------------
    def move_clock(self, to: datetime) -> None:
        """Put the story's clock forward, without anything happening on the way."""
        if to <= self.now or self._clock_id is None:
            return
        advance_test_clock(clock_id=self._clock_id, to=to, at=to, actor=self.actor)
        self.now = to

    # ---- what steps name ----------------------------------------------------------------------------------------
    def get_account(self, name: str) -> Account:
        """Return the account as it is stored now, with its clock."""
        return Account.objects.select_related("test_clock").get(pk=self.accounts[name])

    def get_subscription(self, name: str) -> Subscription:
        """
        Return the subscription that a step called `name`, as it is stored now.

        :raises StepRefused: when that step was refused, or a schedule has not started it yet.
        """
        if name not in self.subscriptions:
            raise StepRefused(f"There is no subscription `{name}`: nothing has started it.")
        return Subscription.objects.select_related("plan_version__plan", "account__test_clock").get(
            pk=self.subscriptions[name]
        )

    def name_scheduled(self) -> None:
        """Give the subscriptions that schedules have started the names that their steps gave them."""
        for name, schedule_id in self.schedules.items():
            started = SubscriptionSchedule.objects.values_list("subscription_id", flat=True).get(pk=schedule_id)
            if started is not None:
                self.subscriptions[name] = started

    def get_payment_method(self, name: str) -> uuid.UUID:
        """
        Return the key of the payment method that a step called `name`.

        :raises StepRefused: when that step was refused.
        """
        if name not in self.payment_methods:
            raise StepRefused(f"There is no payment method `{name}`: the step that was to attach it was refused.")
        return self.payment_methods[name]

    def get_alert(self, name: str) -> uuid.UUID:
        """
        Return the key of the alert that a step called `name`.

        :raises StepRefused: when that step was refused.
        """
        if name not in self.alerts:
            raise StepRefused(f"There is no alert `{name}`: the step that was to ask for it was refused.")
        return self.alerts[name]

    def get_waiting_review(self, *, account: str) -> InvoiceReview:
        """
        Return the oldest review of an account that waits for a decision.

        :raises StepRefused: if there is none.
        """
        waiting = InvoiceReview.objects.filter(account_id=self.accounts[account], status=ReviewStatus.WAITING)
        found = waiting.order_by("id").first()
        if found is None:
            raise StepRefused(f"No invoice of `{account}` waits for review.")
        return found

    def name_alert(self, alert_id: uuid.UUID) -> str:
        """Return what the story calls an alert, or nothing."""
        return next((name for name, pk in self.alerts.items() if pk == alert_id), "")

    def name_payment_method(self, method_id: uuid.UUID) -> str:
        """Return what the story calls a payment method, or nothing."""
        return next((name for name, pk in self.payment_methods.items() if pk == method_id), "")

    def name_subscription(self, subscription_id: uuid.UUID | None) -> str:
        """Return what the story calls a subscription, or nothing."""
        return next((name for name, pk in self.subscriptions.items() if pk == subscription_id), "")

    def name_account(self, account_id: uuid.UUID) -> str:
        """Return what the story calls an account."""
        return next((name for name, pk in self.accounts.items() if pk == account_id), "")

    def get_invoice(self, reference: str, *, account: str = "") -> Invoice:
        """
        Return an invoice by its printed number, or the newest one (`last`, of one account where it is given).

        :raises NotFound: if there is none.
        """
        found = Invoice.objects.filter(org_id=self.org_id)
        if account:
            found = found.filter(account_id=self.accounts[account])
        if reference == "last":
            invoice = found.order_by("-id").first()
        else:
            invoice = found.filter(number_text__iexact=reference).first()
        if invoice is None:
            raise NotFound("invoice", f"The story has no invoice {reference}.")
        return invoice

    @property
    def account_ids(self) -> Sequence[uuid.UUID]:
        return list(self.accounts.values())


@contextmanager
def _at_line(line: int) -> Iterator[None]:
    """Name the line of the story when the product refuses what stands there."""
    try:
        yield
    except DomainError as error:
        raise SetUpRefused(line, explain_refusal(error)) from error


def explain_refusal(error: DomainError) -> str:
    """Return code and detail of a refusal, with its findings, on one line."""
    findings = [f"{each.pointer} {each.detail}" for each in error.errors if each.detail != error.detail]
    return f"{error.code}: {' '.join([error.detail, *findings])}"


def check_promises() -> None:
    """
    Let the database check now what it would check at commit, which a rehearsal may never reach.

    :raises IntegrityError: if a deferred constraint does not hold, such as a ledger entry that does not balance.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
