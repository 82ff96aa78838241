"""Reading parameters as Stripe does: each is named, typed and used, or the request is refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.stripe_server.errors import wrong_parameter

_METADATA_KEYS = 50
_METADATA_KEY_LENGTH = 40
_METADATA_VALUE_LENGTH = 500
_DECIMAL_PLACES = 12


class Parameters:
    """The parameters of one request, or of one object inside it. `finish` refuses those that nobody asked for."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path
        self._asked: set[str] = set()
        self._below: list[Parameters] = []

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def at(self, name: str) -> str:
        """Return the full name: `recurring[interval]`."""
        return f"{self._path}[{name}]" if self._path else name

    def is_object(self, name: str) -> bool:
        """Tell whether a parameter has members, for those that may be one thing or the other."""
        return isinstance(self._values.get(name), dict)

    def finish(self) -> None:
        """:raises StripeError: if a parameter was sent that no one read."""
        unknown = [self.at(name) for name in self._values if name not in self._asked]
        if unknown:
            many = "s" if len(unknown) > 1 else ""
            text = f"Received unknown parameter{many}: {', '.join(unknown)}"
            raise wrong_parameter(text, code="parameter_unknown", param=unknown[0])
        for below in self._below:
            below.finish()

    def text(self, name: str, *, required: bool = False, longest: int = 5000, can_unset: bool = False) -> str | None:
        """Return a text; empty only where that unsets the field."""
        value = self._get(name, required=required)
        if value is None:
            return None
        if not isinstance(value, str):
            raise wrong_parameter(f"Invalid string: {value}", param=self.at(name))
        if not value and not can_unset:
            raise wrong_parameter(
                f"You passed an empty string for '{self.at(name)}'. We assume empty values are an attempt to unset a "
                f"parameter; however '{self.at(name)}' cannot be unset. You should remove '{self.at(name)}' from your "
                "request or supply a non-empty value.",
                code="parameter_invalid_empty",
                param=self.at(name),
            )
        if len(value) > longest:
            text = f"Invalid string: {value[:10]}...{value[-4:]}; must be at most {longest} characters"
            raise wrong_parameter(text, param=self.at(name))
        return value

    def choice(self, name: str, choices: Collection[str], *, required: bool = False) -> str | None:
        """Return one of a few words."""
        value = self.text(name, required=required)
        if value is not None and value not in choices:
            names = ", ".join(choices)
            raise wrong_parameter(f"Invalid {self.at(name)}: must be one of {names}", param=self.at(name))
        return value

    def boolean(self, name: str) -> bool | None:
        """Return `true` or `false`."""
        value = self._get(name)
        if value is None:
            return None
        if value not in {"true", "false", "True", "False"}:
            raise wrong_parameter(f"Invalid boolean: {value}", code="parameter_invalid_boolean", param=self.at(name))
        return bool(value.lower() == "true")

    def integer(
        self, name: str, *, least: int | None = None, most: int | None = None, required: bool = False
    ) -> int | None:
        """Return a whole number."""
        value = self.text(name, required=required)
        if value is None:
            return None
        try:
            number = int(value)
        except ValueError as error:
            text = f"Invalid integer: {value}"
            raise wrong_parameter(text, code="parameter_invalid_integer", param=self.at(name)) from error
        for bound, wrong, words in (
            (least, least is not None and number < least, "greater than or equal to"),
            (most, most is not None and number > most, "less than or equal to"),
        ):
            if wrong:
                text = f"This value must be {words} {bound} (it currently is '{number}')."
                raise wrong_parameter(text, code="parameter_invalid_integer", param=self.at(name))
        return number

    def decimal(self, name: str, *, places: int = _DECIMAL_PLACES) -> Decimal | None:
        """Return an exact number, zero or more, with at most `places` decimals."""
        value = self.text(name)
        if value is None:
            return None
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite() or number < 0:
            raise wrong_parameter(f"Invalid decimal: {value}", param=self.at(name))
        exponent = number.normalize().as_tuple().exponent
        if isinstance(exponent, int) and -exponent > places:
            text = f"Invalid decimal: {value}; must contain at maximum {places} decimal places."
            raise wrong_parameter(text, param=self.at(name))
        return number

    def object(self, name: str, *, required: bool = False) -> Parameters | None:
        """Return the parameters inside another."""
        value = self._get(name, required=required)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise wrong_parameter("Invalid object", param=self.at(name))
        self._below.append(Parameters(value, self.at(name)))
        return self._below[-1]

    def objects(self, name: str) -> list[Parameters] | None:
        """Return a list of objects; an empty text is an empty list."""
        value = self._get(name)
        if value is None or value == "":
            return None if value is None else []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise wrong_parameter("Invalid array", param=self.at(name))
        below = [Parameters(item, f"{self.at(name)}[{index}]") for index, item in enumerate(value)]
        self._below.extend(below)
        return below

    def texts(self, name: str, *, most: int | None = None) -> list[str] | None:
        """Return a list of texts; an empty text is an empty list."""
        value = self._get(name)
        if value is None or value == "":
            return None if value is None else []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise wrong_parameter("Invalid array", param=self.at(name))
        if most is not None and len(value) > most:
            raise wrong_parameter(f"Array may contain at most {most} elements", param=self.at(name))
        return list(value)

    def free(self, name: str) -> dict[str, Any] | None:
        """Return an object with whatever is in it: options that the server repeats and does not act on."""
        value = self._get(name)
        if value is None or value == "":
            return None if value is None else {}
        if not isinstance(value, dict):
            raise wrong_parameter("Invalid object", param=self.at(name))
        return dict(value)

    def metadata(self, current: Mapping[str, str]) -> dict[str, str]:
        """Return `current` with what was sent: empty values remove a key, an empty whole removes all."""
        value = self._get("metadata")
        if value is None:
            return dict(current)
        if value == "":
            return {}
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise wrong_parameter("Invalid object", param=self.at("metadata"))
        merged = {**current, **value}
        for key, text in merged.items():
            if len(key) > _METADATA_KEY_LENGTH or len(text) > _METADATA_VALUE_LENGTH:
                longest = _METADATA_KEY_LENGTH if len(key) > _METADATA_KEY_LENGTH else _METADATA_VALUE_LENGTH
                words = f"Metadata keys and values can have at most {longest} characters"
                raise wrong_parameter(words, param=self.at("metadata"))
        kept = {key: text for key, text in merged.items() if text}
        if len(kept) > _METADATA_KEYS:
            raise wrong_parameter(f"Metadata can have at most {_METADATA_KEYS} keys", param=self.at("metadata"))
        return kept

    def _get(self, name: str, *, required: bool = False) -> Any:
        self._asked.add(name)
        value = self._values.get(name)
        if value is None and required:
            text = f"Missing required param: {self.at(name)}."
            raise wrong_parameter(text, code="parameter_missing", param=self.at(name))
        return value
