"""Who sells, and the counters that number its documents."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from django.db import models
from django.db.models import Q

from accounts.models import MAX_GRACE_HOURS, Account, Alignment, InvoiceGrouping
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import append_only_triggers
from catalog.models import ProrationBasis, ProrationUnit

MAX_LATE_PERIODS: Final = 12


class RoundingRule(models.TextChoices):
    HALF_UP = "half_up", "half away from zero"
    HALF_EVEN = "half_even", "half to even"


class IntervalChange(models.TextChoices):
    KEEP_ANCHOR = "keep_anchor", "keeps its billing day"
    RESTART = "restart", "starts again on the day of the change"


class PauseCredit(models.TextChoices):
    UNUSED_DAYS = "unused_days", "unused days are credited"
    NONE = "none", "nothing is credited"


class UnusedTime(models.TextChoices):
    FORFEIT = "forfeit", "is kept"
    CREDIT = "credit", "is credited"
    REFUND = "refund", "is refunded"


class Numbering(models.TextChoices):
    CONTINUOUS = "continuous", "one series for ever"
    YEARLY = "yearly", "a new series every year"


class TaxMode(models.TextChoices):
    RATE = "rate", "on the sum of the lines, by rate"
    LINE = "line", "on each line"
    KEEP_GROSS = "keep_gross", "on the sum of prices that include it, which is kept"


class Seller(Identified, Timestamped):
    """
    A legal entity that issues invoices for one organization, and the policies that its bills follow.

    An organization has one default seller, which bills every account that was not given to another one. `tax_id` is the
    number that tax is reckoned by, `other_tax_ids` are printed beside it: `[{"label": …, "value": …}]`. Prefixes differ
    among the sellers of an organization, so that a printed number names one document.
    `proration_unit` and `proration_basis` hold for plans that do not say their own; the other policies where a request
    does not. Source: policies, rules 1, 7 to 13 and 21; ADR 0025.
    """

    id_prefix = "sel"

    org_id = models.CharField(max_length=100, verbose_name="Organization")
    is_default = models.BooleanField(default=True, verbose_name="Default of its organization")
    name = models.CharField(max_length=255)
    line1 = models.CharField(max_length=255, blank=True)
    line2 = models.CharField(max_length=255, blank=True)
    city = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=100, blank=True)
    postal_code = models.CharField(max_length=20, blank=True)
    country = models.CharField(max_length=2, blank=True)
    email = models.EmailField(blank=True)
    tax_id = models.CharField(max_length=50, blank=True)
    other_tax_ids = models.JSONField(default=list, blank=True)
    invoice_prefix = models.CharField(max_length=20, default="INV")
    credit_note_prefix = models.CharField(max_length=20, default="CN")
    numbering = models.CharField(max_length=10, choices=Numbering, default=Numbering.CONTINUOUS)
    language = models.CharField(
        max_length=35, default="en", help_text="Of documents to accounts that have chosen none, such as en-GB or de."
    )
    account_holder = models.CharField(max_length=140, blank=True)
    bank_name = models.CharField(max_length=140, blank=True)
    iban = models.CharField(max_length=34, blank=True, verbose_name="IBAN")
    bic = models.CharField(max_length=11, blank=True, verbose_name="BIC")
    payment_text = models.TextField(
        blank=True, max_length=500, help_text="Printed with the bank account; {number} is the document's number."
    )
    logo = models.ForeignKey(
        "invoicing.SellerLogo", null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    due_days = models.PositiveSmallIntegerField(default=7)
    rounding = models.CharField(max_length=9, choices=RoundingRule, default=RoundingRule.HALF_UP)
    tax_mode = models.CharField(max_length=10, choices=TaxMode, default=TaxMode.RATE, help_text="Where tax is rounded.")
    proration_unit = models.CharField(max_length=6, choices=ProrationUnit, default=ProrationUnit.DAY)
    proration_basis = models.CharField(max_length=8, choices=ProrationBasis, default=ProrationBasis.ACTUAL)
    alignment = models.CharField(max_length=11, choices=Alignment, default=Alignment.ANNIVERSARY)
    interval_change = models.CharField(max_length=11, choices=IntervalChange, default=IntervalChange.KEEP_ANCHOR)
    pause_credit = models.CharField(max_length=11, choices=PauseCredit, default=PauseCredit.UNUSED_DAYS)
    cancel_unused = models.CharField(max_length=7, choices=UnusedTime, default=UnusedTime.FORFEIT)
    payment_gated = models.BooleanField(
        default=False,
        verbose_name="Starts wait for payment",
        help_text="A subscription with a fee in advance is on only when its first invoice is paid.",
    )
    voiding_allowed = models.BooleanField(
        default=True,
        verbose_name="Issued invoices may be voided",
        help_text="Where the law does not know it, an issued invoice is corrected by a credit note and a new one.",
    )
    mails_invoices = models.BooleanField(
        default=False,
        verbose_name="Invoices are mailed",
        help_text="With the PDF, to the account's address, when an invoice is issued.",
    )
    mails_receipts = models.BooleanField(
        default=False,
        verbose_name="Payments are mailed",
        help_text="When an invoice that was open is paid; also at issue where invoices are not mailed.",
    )
    mails_credit_notes = models.BooleanField(
        default=False,
        verbose_name="Credit notes are mailed",
        help_text="With the PDF, to the account's address, when a credit note is issued.",
    )
    mails_dunning = models.BooleanField(
        default=True,
        verbose_name="Failed payments are mailed",
        help_text="That an invoice could not be collected, when it is tried again, and what follows.",
    )
    review_factor = models.DecimalField(
        max_digits=8,
        decimal_places=2,
        null=True,
        blank=True,
        default=Decimal(5),
        verbose_name="Held above times the median",
        help_text="A billing run holds an invoice above this many times the median of the account's last 6. Empty: no.",
    )
    review_negative = models.BooleanField(
        default=True,
        verbose_name="Held below zero",
        help_text="A billing run holds an invoice whose total is below zero.",
    )
    review_amounts = models.JSONField(
        default=dict,
        blank=True,
        verbose_name="Held above an amount",
        help_text='Minor units by currency: {"eur": 1000000}. A currency that is not named has no such limit.',
    )
    review_approval = models.BooleanField(
        default=False,
        verbose_name="Release takes two people",
        help_text="Who releases an invoice that was held asks, another person approves.",
    )
    late_usage_periods = models.PositiveSmallIntegerField(
        default=2,
        verbose_name="Late usage",
        help_text="Billing periods back for which usage that came after the invoice is still billed; 0: for none.",
    )
    grace_hours = models.PositiveSmallIntegerField(
        default=0,
        verbose_name="Grace period",
        help_text="Hours for which invoices of the cycle stay drafts after their period, for usage to come; 0: none.",
    )
    invoice_grouping = models.CharField(
        max_length=8,
        choices=InvoiceGrouping,
        default=InvoiceGrouping.SEPARATE,
        help_text="Whether subscriptions of an account that fall due together share an invoice.",
    )
    footer = models.TextField(blank=True)
    ledger_codes = models.JSONField(
        default=dict,
        blank=True,
        verbose_name="Chart of accounts",
        help_text='Codes in the journal, by kind of ledger account: {"revenue": "4400", "receivable": "1200"}.',
    )

    class Meta:
        db_table = "sellers"
        ordering = ["org_id", "-is_default", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["org_id"], condition=Q(is_default=True), name="sellers_one_default_per_organization"
            ),
            models.UniqueConstraint(fields=["org_id", "invoice_prefix"], name="sellers_invoice_prefix_once"),
            models.UniqueConstraint(fields=["org_id", "credit_note_prefix"], name="sellers_credit_note_prefix_once"),
            models.CheckConstraint(
                condition=~Q(invoice_prefix=models.F("credit_note_prefix")), name="sellers_prefixes_differ"
            ),
            models.CheckConstraint(condition=Q(numbering__in=Numbering.values), name="sellers_numbering_known"),
            models.CheckConstraint(
                condition=Q(
                    proration_unit__in=ProrationUnit.values,
                    proration_basis__in=ProrationBasis.values,
                    alignment__in=Alignment.values,
                    interval_change__in=IntervalChange.values,
                    pause_credit__in=PauseCredit.values,
                    cancel_unused__in=UnusedTime.values,
                ),
                name="sellers_policies_known",
            ),
            models.CheckConstraint(
                condition=Q(review_factor__isnull=True) | Q(review_factor__gte=1),
                name="sellers_review_factor_at_least_one",
            ),
            models.CheckConstraint(
                condition=Q(invoice_grouping__in=InvoiceGrouping.values), name="sellers_grouping_known"
            ),
            models.CheckConstraint(condition=Q(tax_mode__in=TaxMode.values), name="sellers_tax_mode_known"),
            models.CheckConstraint(
                condition=Q(late_usage_periods__lte=MAX_LATE_PERIODS), name="sellers_late_usage_bounded"
            ),
            models.CheckConstraint(condition=Q(grace_hours__lte=MAX_GRACE_HOURS), name="sellers_grace_bounded"),
        ]

    def __str__(self) -> str:
        return self.name


class LogoFormat(models.TextChoices):
    PNG = "image/png", "PNG"
    SVG = "image/svg+xml", "SVG"


class SellerLogo(Identified):
    """A picture on documents. A row never changes: documents issued with it show it for ever."""

    id_prefix = "logo"

    seller = models.ForeignKey(Seller, on_delete=models.PROTECT, related_name="logos", db_index=False)
    format = models.CharField(max_length=13, choices=LogoFormat)
    content = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "seller_logos"
        constraints = [models.UniqueConstraint(fields=["seller", "sha256"], name="seller_logos_once")]
        triggers = append_only_triggers("seller_logos")

    def __str__(self) -> str:
        return f"{self.get_format_display()} {self.sha256[:12]}"


class SellerAssignment(models.Model):
    """An account that is billed by another seller than the default of its organization."""

    account = models.OneToOneField(Account, primary_key=True, on_delete=models.PROTECT, related_name="+")
    seller = models.ForeignKey(Seller, on_delete=models.PROTECT, related_name="assignments")
    assigned_at = models.DateTimeField()

    class Meta:
        db_table = "seller_assignments"

    def __str__(self) -> str:
        return f"{self.account_id} by {self.seller_id}"


class NumberCounter(models.Model):
    """The last number given in one series of one seller and mode; locked while numbers are taken: no gaps."""

    seller = models.ForeignKey(Seller, on_delete=models.PROTECT, related_name="counters")
    series = models.CharField(max_length=20)
    livemode = models.BooleanField(default=False)
    last_number = models.BigIntegerField(default=0)

    class Meta:
        db_table = "number_counters"
        constraints = [
            models.UniqueConstraint(fields=["seller", "series", "livemode"], name="number_counters_once"),
            models.CheckConstraint(condition=Q(last_number__gte=0), name="number_counters_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.series} {self.last_number}"
