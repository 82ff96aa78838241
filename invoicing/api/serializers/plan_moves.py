"""Plan moves and their previews: what callers send and see."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import CurrencyField, SignedMoneyField, TimestampField
from invoicing.models import MoveOutcome, MoveStatus, MoveTiming, PlanMove, PlanMoveItem

MAX_NAMED = 10_000
MAX_ROWS = 1_000
_MINOR = "Minor units."
_ROWS = "Those that can be moved, the largest monthly differences first, up to `limit`."


# ---- what is sent ---------------------------------------------------------------------------------------------------
class PlanMoveTerms(StrictSerializer):
    """Which subscriptions are moved, where to, and when."""

    plan_id = serializers.CharField(max_length=100)
    version = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=2**31 - 1, help_text="Default: the one on sale."
    )
    when = serializers.ChoiceField(
        choices=MoveTiming.choices,
        default=MoveTiming.PERIOD_END.value,
        help_text="period_end: from each subscription's next period. now: the running period is rated anew; the fee "
        "that was billed stays.",
    )
    from_versions = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**31 - 1),
        required=False,
        allow_null=True,
        min_length=1,
        max_length=1_000,
        help_text="Only subscriptions on these versions.",
    )
    subscription_ids = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        allow_null=True,
        min_length=1,
        max_length=MAX_NAMED,
        help_text="Only these.",
    )
    org_id = serializers.CharField(
        required=False, max_length=100, help_text="Whose plan; default: the token's organization, else `default`."
    )


class PlanMovePreviewInput(PlanMoveTerms):
    """What to preview."""

    limit = serializers.IntegerField(
        default=50, min_value=0, max_value=MAX_ROWS, help_text="Most subscriptions to list."
    )
    reason = serializers.CharField(
        required=False, allow_blank=True, max_length=500, help_text="Not needed; the body may be that of the move."
    )


class PlanMoveInput(PlanMoveTerms):
    """What to move."""

    reason = serializers.CharField(max_length=500, help_text="Kept with every subscription that moves.")


class PlanMoveQuery(serializers.Serializer[dict[str, Any]]):
    """What moves are filtered by."""

    plan_id = serializers.CharField(required=False, max_length=100)
    status = serializers.ChoiceField(required=False, choices=MoveStatus.choices)


class PlanMoveItemQuery(serializers.Serializer[dict[str, Any]]):
    """What the subscriptions of a move are filtered by."""

    status = serializers.ChoiceField(required=False, choices=MoveOutcome.choices)


class ImpactQuery(serializers.Serializer[dict[str, Any]]):
    """How much of the impact is listed, and whose catalog it is."""

    limit = serializers.IntegerField(
        required=False, default=50, min_value=0, max_value=MAX_ROWS, help_text="Most subscriptions to list by plan."
    )
    org_id = serializers.CharField(required=False, max_length=100, help_text="Default: the token's, else `default`.")


# ---- what is answered -----------------------------------------------------------------------------------------------
class VersionCountSerializer(serializers.Serializer[dict[str, Any]]):
    """How many running subscriptions are on a version."""

    version = serializers.IntegerField()
    subscriptions = serializers.IntegerField()


class MoveTotalsSerializer(serializers.Serializer[dict[str, Any]]):
    """Sums over the subscriptions of one currency that can be moved."""

    currency = CurrencyField()
    subscriptions = serializers.IntegerField()
    next_invoice_before = SignedMoneyField(help_text="Next invoices as they stand, with the usage so far. Minor units.")
    next_invoice_after = SignedMoneyField(help_text=_MINOR)
    monthly_before = SignedMoneyField(help_text="The same use wholly at the old version, by the month. Minor units.")
    monthly_after = SignedMoneyField(help_text=_MINOR)
    monthly_difference = SignedMoneyField(help_text=_MINOR)


class ObstacleSerializer(serializers.Serializer[dict[str, Any]]):
    """Why some subscriptions cannot be moved."""

    code = serializers.CharField()
    detail = serializers.CharField()
    subscriptions = serializers.IntegerField(help_text="How many.")
    subscription_ids = serializers.ListField(child=serializers.CharField(), help_text="The first of them.")


class MovePreviewSerializer(serializers.Serializer[dict[str, Any]]):
    """One subscription, before and after."""

    subscription_id = serializers.CharField()
    account_id = serializers.CharField()
    account_name = serializers.CharField(allow_blank=True)
    from_version = serializers.IntegerField()
    currency = CurrencyField()
    next_billing_at = TimestampField(allow_null=True)
    next_invoice_before = SignedMoneyField(help_text=_MINOR)
    next_invoice_after = SignedMoneyField(help_text=_MINOR)
    monthly_before = SignedMoneyField(help_text=_MINOR)
    monthly_after = SignedMoneyField(help_text=_MINOR)
    monthly_difference = SignedMoneyField(help_text=_MINOR)
    kept_prices = serializers.ListField(
        child=serializers.CharField(), help_text="Lookup keys of negotiated prices that go on."
    )
    lost_prices = serializers.ListField(
        child=serializers.CharField(), help_text="Lookup keys of negotiated prices that the version has no price for."
    )


class PlanMovePreviewSerializer(serializers.Serializer[dict[str, Any]]):
    """What a move would change; nothing was written."""

    plan_id = serializers.CharField()
    version = serializers.IntegerField()
    when = serializers.ChoiceField(choices=MoveTiming.choices)
    subscriptions = serializers.IntegerField(help_text="How many the move would take up.")
    movable = serializers.IntegerField()
    versions = VersionCountSerializer(many=True, help_text="The versions they are on.")
    left_out = serializers.ListField(
        child=serializers.CharField(), help_text="Named in the request, but not running on another version of the plan."
    )
    totals = MoveTotalsSerializer(many=True, help_text="By currency.")
    not_movable = ObstacleSerializer(many=True, help_text="By reason, the most frequent first.")
    rows = MovePreviewSerializer(many=True, help_text=_ROWS)


class PlanImpactSerializer(serializers.Serializer[dict[str, Any]]):
    """A plan that the document changes (`changed`) or takes off sale (`removed`)."""

    plan_id = serializers.CharField()
    name = serializers.CharField()
    change = serializers.ChoiceField(choices=["changed", "removed"])
    next_version = serializers.IntegerField(allow_null=True, help_text="Null: the plan goes off sale.")
    subscriptions = serializers.IntegerField()
    versions = VersionCountSerializer(many=True)
    totals = MoveTotalsSerializer(many=True, help_text="By currency.")
    not_movable = ObstacleSerializer(many=True, help_text="By reason, the most frequent first.")
    rows = MovePreviewSerializer(many=True, help_text=_ROWS)


class CatalogImpactSerializer(serializers.Serializer[dict[str, Any]]):
    """What the document would do to whom, if it were published and everyone were moved with the next period."""

    revision = serializers.IntegerField(allow_null=True, help_text="The active one.")
    difference = serializers.DictField(help_text="Ids of added, removed and changed entries by section.")
    subscriptions = serializers.IntegerField(help_text="Running ones on plans that change.")
    totals = MoveTotalsSerializer(many=True, help_text="Over all plans, by currency.")
    plans = PlanImpactSerializer(many=True)


class MoveProgressSerializer(serializers.Serializer[PlanMove]):
    """How many subscriptions have each outcome."""

    pending = serializers.IntegerField(source="pending_count")
    applied = serializers.IntegerField(source="applied_count")
    failed = serializers.IntegerField(source="failed_count")


class PlanMoveSerializer(serializers.Serializer[PlanMove]):
    """A move and how far it is. `failed` as its status: not one subscription could be moved."""

    id = serializers.CharField(source="public_id")
    org_id = serializers.CharField()
    plan_id = serializers.CharField(source="plan.key")
    version = serializers.IntegerField(source="to_version.version")
    when = serializers.ChoiceField(source="timing", choices=MoveTiming.choices)
    status = serializers.ChoiceField(choices=MoveStatus.choices)
    progress = MoveProgressSerializer(source="*")
    reason = serializers.CharField()
    requested_by = serializers.CharField()
    requested_at = TimestampField()
    finished_at = TimestampField(allow_null=True)


class PlanMoveItemSerializer(serializers.Serializer[PlanMoveItem]):
    """What a move did with one subscription."""

    id = serializers.CharField(source="public_id")
    subscription_id = serializers.CharField(source="subscription.public_id")
    account_id = serializers.CharField(source="account.public_id")
    account_name = serializers.CharField(source="account.name")
    from_version = serializers.IntegerField(source="from_version.version")
    status = serializers.ChoiceField(choices=MoveOutcome.choices)
    error_code = serializers.CharField(allow_blank=True, help_text="Empty unless it failed.")
    error_detail = serializers.CharField(allow_blank=True)
    finished_at = TimestampField(allow_null=True)
