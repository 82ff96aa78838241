"""
`manage.py load_sample`: a small business to look at.

Publishes the sample catalog, opens accounts in several currencies and zones, starts subscriptions at the beginning of
last month, records that month's usage, runs a billing cycle and prints the invoices it issued. Everything goes through
the same services as in production, all of it or nothing. A second call changes nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts.models import Account, Subscription
from accounts.services.accounts import create_account
from accounts.services.deposits import deposit
from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from billing_site.kernel.money import format_decimal
from billing_site.kernel.periods import add_months, local_midnight
from catalog.services.publishing import publish_document
from invoicing.models import Invoice
from invoicing.services.run_work import work_run
from invoicing.services.runs import RunRequest, count_outcomes, plan_run
from invoicing.services.subscriptions import start_subscription
from metering.services.ingest import NewUsageEvent, record_usage_events

ORG: Final = "sample"
ACTOR: Final = Actor("system", "load_sample")
UTC_ZONE: Final = ZoneInfo("UTC")
BATCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class SampleAccount:
    """An account, its plans (key, quantity) and its usage per day: meter, events, smallest and largest value."""

    handle: str
    profile: dict[str, Any]
    plans: tuple[tuple[str, int], ...]
    usage: tuple[tuple[str, int, str, str], ...] = ()
    prepaid: int = 0


ACCOUNTS: Final = (
    SampleAccount(
        "acme",
        {
            "name": "Acme Robotics",
            "company": "Acme Robotics, Inc.",
            "email": "billing@acme.example",
            "currency": "usd",
            "timezone": "America/New_York",
            "line1": "350 Mission Street",
            "city": "San Francisco",
            "state": "CA",
            "postal_code": "94105",
            "country": "US",
        },
        (("pro", 1), ("ai-payg", 1)),
        (
            ("llm_input_tokens", 12, "2000", "90000"),
            ("llm_output_tokens", 12, "200", "20000"),
            ("api", 6, "500", "9000"),
        ),
        prepaid=50_000,
    ),
    SampleAccount(
        "globex",
        {
            "name": "Globex",
            "company": "Globex GmbH",
            "email": "rechnung@globex.example",
            "currency": "eur",
            "timezone": "Europe/Berlin",
            "line1": "Torstraße 12",
            "city": "Berlin",
            "postal_code": "10119",
            "country": "DE",
        },
        (("starter", 1), ("ai-team", 7)),
        (("api", 4, "100", "5000"), ("llm_input_tokens", 5, "1000", "40000"), ("llm_output_tokens", 5, "100", "9000")),
    ),
    SampleAccount(
        "initech",
        {
            "name": "Initech",
            "company": "Initech LLC",
            "email": "accounts@initech.example",
            "currency": "usd",
            "timezone": "America/Chicago",
            "line1": "4120 Freidrich Lane",
            "city": "Austin",
            "state": "TX",
            "postal_code": "78744",
            "country": "US",
        },
        (("ai-payg", 1),),
        (("llm_input_tokens", 20, "500", "8000"), ("llm_output_tokens", 20, "50", "3000")),
    ),
    SampleAccount(
        "umbrella",
        {
            "name": "Umbrella Labs",
            "company": "Umbrella Labs SAS",
            "email": "compta@umbrella.example",
            "currency": "eur",
            "timezone": "Europe/Paris",
            "line1": "8 rue de Rivoli",
            "city": "Paris",
            "postal_code": "75004",
            "country": "FR",
        },
        (("pro", 1),),
        (("api", 8, "2000", "30000"), ("storage", 1, "5", "60")),
    ),
    SampleAccount(
        "hooli",
        {"name": "Hooli", "email": "ap@hooli.example", "currency": "usd", "timezone": "America/Los_Angeles"},
        (("free", 1),),
        (("api", 2, "10", "300"),),
    ),
)


class Command(BaseCommand):
    help = "Load the sample catalog, accounts and a month of usage, run a billing cycle and print its invoices."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--show", action="store_true", help="only print the invoices of the sample")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.BILLING_LIVEMODE:
            raise CommandError("Sample data does not belong into a live system (BILLING_LIVEMODE is on).")
        if options["show"] or Account.objects.filter(org_id=ORG).exists():
            self._print_invoices()
            return
        with transaction.atomic():
            self._load(clock.now())
        self._print_invoices()

    def _load(self, now: datetime) -> None:
        start, end = _choose_month(now)
        self._publish(start)
        accounts = [self._open(sample, start) for sample in ACCOUNTS]
        subscriptions = Subscription.objects.filter(account__in=accounts).count()
        self.stdout.write(f"opened {len(accounts)} accounts with {subscriptions} subscriptions")
        self._record_usage(accounts, start, now)
        run = plan_run(org_id=ORG, as_of=min(end + timedelta(hours=12), now), request=RunRequest(ACTOR), livemode=False)
        run = work_run(run_id=run.id, actor=ACTOR)
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in count_outcomes(run).items() if count)
        self.stdout.write(f"ran the billing cycle as of {run.as_of:%Y-%m-%d %H:%M}Z: {counts}")

    def _publish(self, at: datetime) -> None:
        path = Path(apps.get_app_config("catalog").path) / "data" / "sample.json"
        document = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
        result = publish_document(org_id=ORG, document=document, at=at, actor=ACTOR, reason="Sample data")
        self.stdout.write(f"published the sample catalog, revision {result.revision.revision}")

    def _open(self, sample: SampleAccount, start: datetime) -> Account:
        account = create_account(
            external_id=sample.handle,
            org_id=ORG,
            at=start,
            actor=ACTOR,
            with_default_plan=False,
            reason="Sample data",
            org_name="Sample organization",
            **sample.profile,
        )
        local_start = local_midnight(start.date(), account.zone)
        for plan_key, quantity in sample.plans:
            start_subscription(
                account=account, plan_key=plan_key, quantity=quantity, at=max(local_start, start), actor=ACTOR
            )
        if sample.prepaid:
            deposit(
                account=account,
                amount=sample.prepaid,
                currency=account.currency,
                at=start,
                actor=ACTOR,
                notes="Advance payment",
            )
        return account

    def _record_usage(self, accounts: list[Account], start: datetime, now: datetime) -> None:
        samples = {sample.handle: sample for sample in ACCOUNTS}
        events = [
            event
            for account in accounts
            for event in _make_usage(account, samples[account.external_id or ""], start, now)
        ]
        for first in range(0, len(events), BATCH):
            record_usage_events(events=events[first : first + BATCH], at=now, actor=ACTOR)
        self.stdout.write(f"recorded {len(events):,} usage events")

    def _print_invoices(self) -> None:
        rows = [
            (
                invoice.number_text or "draft",
                invoice.account.name,
                invoice.status,
                str(invoice.issue_date or "–"),
                str(invoice.due_date or "–"),
                f"{format_decimal(invoice.total, invoice.currency)} {invoice.currency.upper()}",
            )
            for invoice in Invoice.objects.filter(org_id=ORG).select_related("account").order_by("id")[:40]
        ]
        if not rows:
            self.stdout.write("no invoices yet")
            return
        table = [("Invoice", "Account", "Status", "Issued", "Due", "Total"), *rows]
        widths = [max(len(row[column]) for row in table) for column in range(6)]
        for number, row in enumerate(table):
            cells = [text.ljust(width) for text, width in zip(row[:5], widths[:5], strict=True)]
            self.stdout.write("  ".join([*cells, row[5].rjust(widths[5])]).rstrip())
            if number == 0:
                self.stdout.write("  ".join("-" * width for width in widths))


def _choose_month(now: datetime) -> tuple[datetime, datetime]:
    """Return start and end of the last month that is over in every zone of the sample, as midnights UTC."""
    end = (now - timedelta(days=1)).date().replace(day=1)
    return local_midnight(add_months(end, -1), UTC_ZONE), local_midnight(end, UTC_ZONE)


def _make_usage(account: Account, sample: SampleAccount, start: datetime, now: datetime) -> Iterator[NewUsageEvent]:
    """Yield the same usage for the same month, from the first day to the present, busier on weekdays."""
    dice = random.Random(f"{sample.handle} {start:%Y-%m}")  # noqa: S311 - sample data, not secrets
    day = local_midnight(start.date(), account.zone)
    while day < now:
        share = Decimal("1") if day.weekday() < 5 else Decimal("0.4")
        for meter, count, low, high in sample.usage:
            for number in range(count):
                moment = day + timedelta(seconds=dice.randrange(86_400))
                value = (Decimal(dice.randrange(int(low), int(high) + 1)) * share).quantize(Decimal("1"))
                if moment <= now:
                    key = f"sample-{meter}-{day:%Y%m%d}-{number}"
                    yield NewUsageEvent(account, meter, value, timestamp=moment.astimezone(UTC), idempotency_key=key)
        day = local_midnight((day.astimezone(account.zone) + timedelta(days=1)).date(), account.zone)
