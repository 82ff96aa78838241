"""From quantities to charges: unit conversion and the price of usage. Pure functions."""

from metering.rating.units import UnitNotConvertible, convert_quantity
from metering.rating.usage import RatedUsage, rate_usage

__all__ = ["RatedUsage", "UnitNotConvertible", "convert_quantity", "rate_usage"]
