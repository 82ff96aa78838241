"""Forms that ask for long work: dry run, what-if, shadow re-run, and large files."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from typing import Any, Final

from django import forms
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminFileFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts.models import Account
from accounts.queries.access import find_account
from billing_site.backoffice.actions import ReasonForm
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError
from catalog.documents.parsing import DocumentUnreadable, parse_document
from catalog.models import CatalogDraft
from catalog.models.revision import DraftStatus
from catalog.services.documents import read_document
from invoicing.models import JobFormat, JobKind, Seller
from invoicing.queries.account_export import choose_days
from invoicing.queries.period_invoices import Month
from invoicing.queries.reports.catalogue import REPORTS
from invoicing.services.billing_jobs import NewJob

MAX_CATALOG: Final = 4 * 1024 * 1024
MAX_ACCOUNTS: Final = 500


class MonthField(forms.CharField):
    """A calendar month, written 2026-10."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminTextInputWidget(attrs={"type": "month", "placeholder": "2026-10"})
        widget.input_type = "month"
        super().__init__(**{"widget": widget, **kwargs})

    def clean(self, value: Any) -> str:
        text: str = super().clean(value)
        if not text:
            return ""
        try:
            return f"{Month.parse(text).first:%Y-%m}"
        except ValueError as error:
            raise forms.ValidationError("A month is written like 2026-10.") from error


class AccountsField(forms.CharField):
    """Accounts by id or external id, separated by spaces, commas or lines."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 2, "placeholder": "acme/alice"})
        super().__init__(
            **{
                "label": "Only these accounts",
                "required": False,
                "widget": widget,
                "help_text": "Ids or external ids, separated by spaces or lines. Empty: all.",
                **kwargs,
            }
        )

    def clean(self, value: Any) -> list[str]:
        """Return the keys as text. :raises ValidationError: naming what there is not."""
        references = [each for each in re.split(r"[\s,;]+", super().clean(value)) if each]
        if len(references) > MAX_ACCOUNTS:
            raise forms.ValidationError(f"At most {MAX_ACCOUNTS} accounts.")
        found = {each: find_account(Account.objects.all(), each) for each in references}
        if unknown := [each for each, account in found.items() if account is None]:
            raise forms.ValidationError(f"There is no account {', '.join(unknown)[:200]}.")
        return [str(account.pk) for account in found.values() if account is not None]


def list_orgs() -> list[tuple[str, str]]:
    """Return the organizations that have accounts, as choices."""
    orgs = Account.objects.order_by("org_id").values_list("org_id", flat=True).distinct()[:500]
    return [(org, org) for org in orgs]


class JobForm(ReasonForm):
    """What every job is asked: the form of its file. `org_id` is offered where the kind has one."""

    kind: str = ""
    all_orgs = False

    file_format = forms.ChoiceField(
        label="File", choices=JobFormat.choices, initial=JobFormat.CSV, widget=UnfoldAdminRadioSelectWidget()
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "org_id" in self.fields:
            every = [("", "All organizations")] if self.all_orgs else []
            self.fields["org_id"].choices = [*every, *list_orgs()]  # type: ignore[attr-defined]
        self.order_fields([name for name in self.fields if name not in ("file_format", "reason")])

    def read_job(self) -> NewJob:
        """Return what a valid form asks for."""
        data = self.cleaned_data
        return NewJob(
            kind=self.kind,
            file_format=data["file_format"],
            org_id=data.get("org_id", ""),
            account=data.get("account"),
            parameters=self.read_parameters(),
            catalog=data.get("document"),
            reason=data["reason"],
        )

    def read_parameters(self) -> dict[str, Any]:
        """Return what the kind reads, as plain values."""
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        """Hand the job to the action with the rest."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            data["job"] = self.read_job()
        return data


def _org_field() -> forms.ChoiceField:
    return forms.ChoiceField(label="Organization", required=False, widget=UnfoldAdminSelectWidget())


class DryRunForm(JobForm):
    """Whose run, and as of when."""

    kind = JobKind.DRY_RUN
    org_id = forms.ChoiceField(label="Organization", widget=UnfoldAdminSelectWidget())
    as_of = forms.DateField(
        label="As of",
        required=False,
        help_text="As if this day (UTC) had begun. Empty: now.",
        widget=UnfoldAdminDateWidget(),
    )

    def read_parameters(self) -> dict[str, Any]:
        day = self.cleaned_data["as_of"]
        at = clock.now() if day is None else datetime.combine(day, time.min, tzinfo=UTC)
        return {"as_of": at.isoformat()}


class WhatIfForm(JobForm):
    """Which month, at the prices of which document."""

    kind = JobKind.WHAT_IF
    all_orgs = True
    period = MonthField(label="Month", help_text="Its issued invoices are computed again.")
    draft = forms.ModelChoiceField(
        label="Prices of a draft",
        queryset=CatalogDraft.objects.none(),
        required=False,
        widget=UnfoldAdminSelectWidget(),
        empty_label="None: from a file",
    )
    upload = forms.FileField(
        label="Or of a file",
        required=False,
        help_text="A catalog document (JSON). What has no price in it keeps its own and is listed.",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".json,application/json"}),
    )
    org_id = _org_field()
    accounts = AccountsField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        drafts = CatalogDraft.objects.filter(status__in=(DraftStatus.DRAFT, DraftStatus.SUBMITTED)).order_by("-id")
        field: Any = self.fields["draft"]
        field.queryset = drafts
        field.label_from_instance = lambda draft: f"{draft.title} ({draft.org_id})"

    def clean_upload(self) -> Any:
        """Return the document of the file, None without one."""
        upload = self.cleaned_data["upload"]
        if not upload:
            return None
        if upload.size > MAX_CATALOG:
            raise forms.ValidationError(f"A document has at most {MAX_CATALOG // 1024 // 1024} MB.")
        try:
            return parse_document(upload.read().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise forms.ValidationError("The file is no text in UTF-8.") from error
        except DocumentUnreadable as error:
            raise forms.ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        """Take one document, and refuse one that could not be published."""
        if not self.errors:
            draft, upload = self.cleaned_data.get("draft"), self.cleaned_data.get("upload")
            if (draft is None) == (upload is None):
                raise forms.ValidationError("Choose a draft or give a file, one of them.")
            try:
                content = read_document(upload if draft is None else draft.document)
            except DomainError as error:
                raise forms.ValidationError(error.detail) from error
            self.cleaned_data["document"] = content.as_document()
        return super().clean()

    def read_parameters(self) -> dict[str, Any]:
        draft = self.cleaned_data["draft"]
        upload: Any = self.files.get("upload")
        source = upload.name if draft is None else draft.title
        return {"period": self.cleaned_data["period"], "accounts": self.cleaned_data["accounts"], "prices": source}


class ShadowForm(JobForm):
    """Which month is computed again."""

    kind = JobKind.SHADOW
    all_orgs = True
    period = MonthField(label="Month")
    org_id = _org_field()
    accounts = AccountsField()

    def read_parameters(self) -> dict[str, Any]:
        return {"period": self.cleaned_data["period"], "accounts": self.cleaned_data["accounts"]}


class AccountDataForm(JobForm):
    """Whose data, and of which days."""

    kind = JobKind.ACCOUNT_EXPORT
    account = forms.CharField(
        label="Account",
        max_length=255,
        help_text="Id or external id.",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "acme/alice"}),
    )
    start = forms.DateField(label="From", required=False, widget=UnfoldAdminDateWidget())
    end = forms.DateField(
        label="To",
        required=False,
        widget=UnfoldAdminDateWidget(),
        help_text="Days of the account, both included. Empty: everything.",
    )
    detailed = forms.BooleanField(
        label="Single usage events",
        required=False,
        help_text="Every event instead of a sum for each day.",
        widget=UnfoldBooleanSwitchWidget(),
    )

    def clean_account(self) -> Account:
        """Return the account that is named."""
        found = find_account(Account.objects.select_related("test_clock"), self.cleaned_data["account"].strip())
        if found is None:
            raise forms.ValidationError("There is no account with this id or external id.")
        return found

    def clean(self) -> dict[str, Any]:
        """The days are in order."""
        if not self.errors:
            try:
                choose_days(year=None, start=self.cleaned_data.get("start"), end=self.cleaned_data.get("end"))
            except DomainError as error:
                raise forms.ValidationError(error.detail) from error
        return super().clean()

    def read_job(self) -> NewJob:
        """The job is of the account's organization."""
        self.cleaned_data["org_id"] = self.cleaned_data["account"].org_id
        return super().read_job()

    def read_parameters(self) -> dict[str, Any]:
        data = self.cleaned_data
        days = {name: data[name].isoformat() for name in ("start", "end") if data[name] is not None}
        return {**days, "detailed": data["detailed"]}


class JournalForm(JobForm):
    """Which books, and of which month."""

    kind = JobKind.JOURNAL
    seller = forms.ModelChoiceField(
        label="Seller",
        queryset=Seller.objects.order_by("org_id", "-is_default", "name"),
        widget=UnfoldAdminSelectWidget(),
        empty_label=None,
    )
    month = MonthField(label="Month", help_text="Calendar month in UTC.")
    whole_org = forms.BooleanField(
        label="All sellers of the organization", required=False, widget=UnfoldBooleanSwitchWidget()
    )

    def read_job(self) -> NewJob:
        """The job is of the seller's organization."""
        self.cleaned_data["org_id"] = self.cleaned_data["seller"].org_id
        return super().read_job()

    def read_parameters(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {"month": data["month"], "seller": "" if data["whole_org"] else str(data["seller"].pk)}


class ReportForm(JobForm):
    """Which report, of which months."""

    kind = JobKind.REPORT
    all_orgs = True
    report = forms.ChoiceField(
        choices=[(each.name, each.title) for each in REPORTS.values()], widget=UnfoldAdminSelectWidget()
    )
    start = MonthField(label="From", required=False)
    end = MonthField(label="To", required=False, help_text="Calendar months in UTC. Empty: the last twelve.")
    currency = forms.CharField(
        required=False,
        max_length=3,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "usd"}),
        help_text="Empty: all.",
    )
    org_id = _org_field()

    def read_parameters(self) -> dict[str, Any]:
        data = self.cleaned_data
        currency = data["currency"].strip().lower()
        return {"report": data["report"], "start": data["start"], "end": data["end"], "currency": currency}
