"""Invoices, their lines and their stored documents."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from accounts.models import Account, Subscription, SubscriptionDiscount, SubscriptionItem
from billing_site.kernel.periods import Period
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import append_only_triggers
from catalog.models import Meter, PlanVersion, Price
from invoicing.models.run import BillingRun
from invoicing.models.seller import Seller
from invoicing.models.triggers import invoice_triggers, line_triggers


class InvoiceStatus(models.TextChoices):
    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


INVOICE_TRANSITIONS: dict[str, frozenset[str]] = {
    "draft": frozenset({"open", "paid", "void"}),
    "open": frozenset({"paid", "void", "uncollectible"}),
    "uncollectible": frozenset({"paid"}),
    # A credit note that settled it was voided: it is to be paid after all.
    "paid": frozenset({"open"}),
    "void": frozenset(),
}
ISSUED_STATUSES = ("open", "paid", "void", "uncollectible")


class Invoice(Identified, Timestamped):
    """
    A document. Amounts are minor units of `currency`; once issued, only payment and status columns change.

    `boundary` is the number of the subscription's boundary that this invoice settles; unique among invoices that are
    not void. `subscription_discount` is the discount of which this invoice used one month, whether it took something
    off or not. `trace` holds the facts it was computed from; `verify_invoice` recomputes the document from them.
    One that `is_grouped` bills several subscriptions of the account: it names them as `members`, and each line its own.
    `due_days` is what was agreed for this one draft. `reissues` is the voided invoice that this one stands for.
    A draft `in_review` waits for a person to release it: the database does not let it be issued before.
    """

    id_prefix = "in"

    org_id = models.CharField(max_length=100)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="invoices")
    subscription = models.ForeignKey(
        Subscription, null=True, blank=True, on_delete=models.PROTECT, related_name="invoices"
    )
    seller = models.ForeignKey(Seller, on_delete=models.PROTECT, related_name="+")
    run = models.ForeignKey(
        BillingRun, null=True, blank=True, on_delete=models.PROTECT, related_name="invoices", db_index=False
    )
    boundary = models.IntegerField(null=True, blank=True)
    status = models.CharField(max_length=13, choices=InvoiceStatus, default=InvoiceStatus.DRAFT)
    currency = models.CharField(max_length=3)
    subtotal = models.BigIntegerField()
    discount = models.BigIntegerField(default=0)
    discount_name = models.CharField(max_length=255, blank=True)
    subscription_discount = models.ForeignKey(
        SubscriptionDiscount, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    tax = models.BigIntegerField(default=0)
    # How tax was rounded, one of the seller's modes; empty when nothing was known of tax.
    tax_mode = models.CharField(max_length=10, blank=True)
    total = models.BigIntegerField()
    credit_applied = models.BigIntegerField(default=0)
    amount_due = models.BigIntegerField()
    amount_paid = models.BigIntegerField(default=0)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    series = models.CharField(max_length=20, blank=True)
    number = models.BigIntegerField(null=True, blank=True)
    number_text = models.CharField(max_length=40, blank=True)
    issue_date = models.DateField(null=True, blank=True)
    due_date = models.DateField(null=True, blank=True)
    # Until then an invoice of the cycle stays a draft and takes up usage of its period.
    finalize_at = models.DateTimeField(null=True, blank=True)
    finalized_at = models.DateTimeField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)
    void_reason = models.TextField(blank=True)
    payment_method = models.CharField(max_length=50, blank=True)
    attempt_count = models.PositiveSmallIntegerField(default=0)
    last_attempt_at = models.DateTimeField(null=True, blank=True)
    # When it is to be collected without anybody asking; None: not by itself.
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    due_days = models.PositiveSmallIntegerField(null=True, blank=True)
    reissues = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="reissued_as", db_index=False
    )
    account_snapshot = models.JSONField(default=dict)
    seller_snapshot = models.JSONField(default=dict)
    trace = models.JSONField(default=dict)
    livemode = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)
    in_review = models.BooleanField(default=False)
    is_grouped = models.BooleanField(default=False)

    class Meta:
        db_table = "invoices"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["seller", "series", "livemode", "number"],
                condition=Q(number__isnull=False),
                name="invoices_number_once",
            ),
            models.UniqueConstraint(
                fields=["subscription", "boundary"],
                condition=~Q(status="void") & Q(boundary__isnull=False),
                name="invoices_period_billed_once",
            ),
            # A voided invoice is issued again once; an attempt that is voided too makes room for another.
            models.UniqueConstraint(
                fields=["reissues"],
                condition=~Q(status="void") & Q(reissues__isnull=False),
                name="invoices_reissued_once",
            ),
            models.CheckConstraint(
                condition=Q(status="draft", number__isnull=True, finalized_at__isnull=True)
                | Q(status="void", number__isnull=True, finalized_at__isnull=True)
                | Q(
                    status__in=ISSUED_STATUSES,
                    number__isnull=False,
                    finalized_at__isnull=False,
                    issue_date__isnull=False,
                    due_date__isnull=False,
                ),
                name="invoices_issued_has_number",
            ),
            models.CheckConstraint(
                condition=Q(status="paid", paid_at__isnull=False) | (~Q(status="paid") & Q(paid_at__isnull=True)),
                name="invoices_paid_has_time",
            ),
            models.CheckConstraint(
                condition=Q(status="void", voided_at__isnull=False) | (~Q(status="void") & Q(voided_at__isnull=True)),
                name="invoices_void_has_time",
            ),
            models.CheckConstraint(
                condition=Q(total=F("subtotal") - F("discount") + F("tax")), name="invoices_total_adds_up"
            ),
            models.CheckConstraint(
                condition=Q(discount__gte=0, credit_applied__gte=0, amount_due__gte=0, amount_paid__gte=0),
                name="invoices_amounts_not_negative",
            ),
            models.CheckConstraint(condition=Q(amount_paid__lte=F("amount_due")), name="invoices_paid_within_due"),
            models.CheckConstraint(
                condition=Q(in_review=False) | Q(status="draft"), name="invoices_in_review_not_issued"
            ),
            models.CheckConstraint(
                condition=Q(is_grouped=False)
                | Q(subscription__isnull=True, boundary__isnull=True, subscription_discount__isnull=True),
                name="invoices_grouped_has_members",
            ),
            models.CheckConstraint(
                condition=Q(next_attempt_at__isnull=True) | Q(status="open"), name="invoices_attempt_only_of_open"
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="invoices_of_account"),
            models.Index(fields=["org_id", "-id"], name="invoices_of_org"),
            models.Index(fields=["status", "due_date"], name="invoices_by_due_date"),  # overdue list
            models.Index(fields=["number_text"], name="invoices_number_text"),  # lookup by printed number
            # The sweep that issues drafts whose time has come.
            models.Index(
                fields=["finalize_at", "id"],
                condition=Q(status="draft", finalize_at__isnull=False),
                name="invoices_in_grace",
            ),
            # The sweep that collects what is due.
            models.Index(
                fields=["next_attempt_at", "id"],
                condition=Q(status="open", next_attempt_at__isnull=False),
                name="invoices_to_collect",
            ),
            models.Index(fields=["run"], name="invoices_of_run"),  # answer and page of a billing run
            # What became of a voided invoice.
            models.Index(fields=["reissues"], condition=Q(reissues__isnull=False), name="invoices_reissues"),
        ]
        triggers = invoice_triggers()

    def __str__(self) -> str:
        return self.number_text or f"draft {self.public_id}"

    @property
    def amount_remaining(self) -> int:
        return 0 if self.status == InvoiceStatus.VOID else self.amount_due - self.amount_paid

    @property
    def period(self) -> Period:
        return Period(self.period_start, self.period_end)

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in INVOICE_TRANSITIONS[self.status]


class LineType(models.TextChoices):
    SUBSCRIPTION = "subscription"
    USAGE = "usage"
    ONE_OFF = "one_off"
    PRORATION = "proration"


# Lines of these types claim their item's period: no second one that is not reversed, and no overlap.
CLAIMING_TYPES = ("subscription", "usage")


class InvoiceLine(Identified):
    """
    One line. `trace` says how the amount came about; `is_reversed` frees the period when the invoice is void.

    `discount` is this line's part of the invoice's discount; `amount` is before it, and both are without tax. `tax` is
    on what the discount leaves, `tax_shares` its parts in the invoice's tax rows, in the order of their positions. A
    usage line knows how many events it holds and when the last of them was recorded, so that what comes later is
    noticed. On an invoice for several, `subscription` is whose line it is. It claims its item's period; what is billed
    of that period afterwards names it as `original_line`, with `sequence` 1, 2 and so on.
    """

    id_prefix = "il"

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveIntegerField()
    type = models.CharField(max_length=12, choices=LineType)
    description = models.CharField(max_length=500)
    quantity = models.DecimalField(max_digits=38, decimal_places=12)
    unit_amount = models.DecimalField(max_digits=38, decimal_places=12)
    amount = models.BigIntegerField()
    discount = models.BigIntegerField(default=0)
    tax = models.BigIntegerField(default=0)
    tax_shares = ArrayField(models.BigIntegerField(), default=list, blank=True)
    currency = models.CharField(max_length=3)
    subscription_item = models.ForeignKey(
        SubscriptionItem, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    subscription = models.ForeignKey(
        Subscription, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    price = models.ForeignKey(Price, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    plan_version = models.ForeignKey(
        PlanVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    meter = models.ForeignKey(Meter, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    usage_events = models.BigIntegerField(null=True, blank=True)
    usage_recorded_at = models.DateTimeField(null=True, blank=True)
    original_line = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="later_lines", db_index=False
    )
    sequence = models.PositiveSmallIntegerField(default=0)
    is_reversed = models.BooleanField(default=False)
    trace = models.JSONField(default=dict)

    class Meta:
        db_table = "invoice_lines"
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_lines_position_once"),
            models.UniqueConstraint(
                fields=["subscription_item", "type", "period_start"],
                condition=Q(
                    is_reversed=False,
                    type__in=CLAIMING_TYPES,
                    subscription_item__isnull=False,
                    original_line__isnull=True,
                ),
                name="invoice_lines_period_billed_once",
            ),
            models.UniqueConstraint(
                fields=["original_line", "sequence"],
                condition=Q(is_reversed=False, original_line__isnull=False),
                name="invoice_lines_rest_billed_once",
            ),
            models.CheckConstraint(
                condition=Q(original_line__isnull=True, sequence=0)
                | Q(original_line__isnull=False, sequence__gt=0, type="usage"),
                name="invoice_lines_sequence_of_original",
            ),
            models.CheckConstraint(
                condition=Q(period_end__gte=F("period_start")), name="invoice_lines_period_in_order"
            ),
            models.CheckConstraint(
                condition=Q(discount=0) | Q(discount__gt=0, discount__lte=F("amount")),
                name="invoice_lines_discount_within_amount",
            ),
        ]
        triggers = line_triggers()

    def __str__(self) -> str:
        return self.description

    @property
    def owner(self) -> Subscription | None:
        """The subscription it is for: its own on an invoice for several, else its invoice's."""
        return self.subscription or self.invoice.subscription

    @property
    def period(self) -> Period:
        return Period(self.period_start, self.period_end)


class DocumentKind(models.TextChoices):
    INVOICE_PDF = "invoice_pdf"


class InvoiceDocument(Identified):
    """The PDF of an issued invoice, stored once and never changed."""

    id_prefix = "doc"

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="documents")
    kind = models.CharField(max_length=20, choices=DocumentKind, default=DocumentKind.INVOICE_PDF)
    content = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "invoice_documents"
        constraints = [models.UniqueConstraint(fields=["invoice", "kind"], name="invoice_documents_once")]
        triggers = append_only_triggers("invoice_documents")

    def __str__(self) -> str:
        return f"{self.kind} {self.sha256[:12]}"
