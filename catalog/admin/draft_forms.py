"""Documents as text: the field, and the forms that take a document typed, pasted or from a file."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from billing_site.backoffice.actions import ReasonForm
from catalog.documents.formatting import format_document
from catalog.documents.parsing import DocumentUnreadable, parse_document
from catalog.queries.revisions import DEFAULT_ORG

MAX_FILE: Final = 4 * 1024 * 1024
HELP: Final = (
    "Amounts are minor units: 2900 is 29.00 USD. Fees are whole numbers; prices of usage are decimals in quotes "
    '("0.00005"). A new draft that is left empty starts as a copy of the published catalog.'
)


class DocumentField(forms.CharField):
    """A JSON document to edit as text; unreadable text is refused with line and column and stays as typed."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 36, "spellcheck": "false", "wrap": "off"})
        widget.attrs["class"] = f"{widget.attrs.get('class', '')} ch-code"
        super().__init__(**{"widget": widget, "strip": False, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else format_document(value)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        return read_document_text(text) if text.strip() else None

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != initial)
        except forms.ValidationError:
            return True


class UploadField(forms.FileField):
    """A JSON document from a file."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminFileFieldWidget(attrs={"accept": ".json,application/json"})
        super().__init__(**{"required": False, "widget": widget, **kwargs})

    def clean(self, data: Any, initial: Any = None) -> Any:
        upload = super().clean(data, initial)
        if not upload:
            return None
        if upload.size > MAX_FILE:
            raise forms.ValidationError(f"A document has at most {MAX_FILE // 1024 // 1024} MB.", code="too_large")
        try:
            text = upload.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise forms.ValidationError("The file is no text in UTF-8.", code="unreadable") from error
        return read_document_text(text)


class DocumentForm(forms.Form):
    """The whole document as text. A file takes the place of what was typed."""

    document = DocumentField(required=False, help_text=HELP)
    upload = UploadField(label="Or from a file", help_text="A JSON file takes the place of the text above.")

    def get_document(self) -> dict[str, Any]:
        """Return the document that was given; an empty one when there is nothing."""
        given = self.cleaned_data.get("upload") or self.cleaned_data.get("document")
        return given if given is not None else {}


class NewDraftForm(ReasonForm):
    """What a new draft needs besides its reason."""

    title = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "Spring prices"}))
    org_id = forms.CharField(
        label="Organization", max_length=100, initial=DEFAULT_ORG, widget=UnfoldAdminTextInputWidget()
    )


def read_document_text(text: str) -> dict[str, Any]:
    """
    Return the document in a text.

    :raises ValidationError: if it is no JSON object; the message says where.
    """
    try:
        document = parse_document(text)
    except DocumentUnreadable as error:
        raise forms.ValidationError(str(error), code="unreadable") from error
    if not isinstance(document, dict):
        raise forms.ValidationError("A catalog document is a JSON object.", code="not_an_object")
    return document
