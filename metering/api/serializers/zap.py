"""The envelope of the method door."""

from __future__ import annotations

from typing import Any, Final

from rest_framework import serializers

# Each method is the REST operation that `method path` names.
METHODS: Final[dict[str, tuple[str, str]]] = {
    "billing.getBalance": ("GET", "/api/v1/billing/balance"),
    "billing.getBalanceAll": ("GET", "/api/v1/billing/balance/all"),
    "billing.getUsage": ("GET", "/api/v1/billing/usage"),
    "billing.recordUsage": ("POST", "/api/v1/billing/usage"),
    "billing.deposit": ("POST", "/api/v1/billing/deposit"),
}


class RpcRequestSerializer(serializers.Serializer[dict[str, Any]]):
    method = serializers.ChoiceField(choices=list(METHODS))
    id = serializers.CharField(required=False, allow_null=True, help_text="Echoed.")
    params = serializers.DictField(required=False, help_text="The fields of the REST request of that method.")


class RpcErrorSerializer(serializers.Serializer[dict[str, Any]]):
    code = serializers.IntegerField(help_text="-32601 unknown method, -32602 wrong params, -32000 refused.")
    message = serializers.CharField()
    data = serializers.DictField(  # type: ignore[assignment]
        required=False, help_text="The problem document of the REST operation."
    )


class RpcEnvelopeSerializer(serializers.Serializer[dict[str, Any]]):
    """`result` on success, `error` otherwise."""

    id = serializers.CharField(allow_null=True, help_text="As it was sent.")
    result = serializers.DictField(required=False, help_text="What the REST operation answers.")
    error = RpcErrorSerializer(required=False)
