"""How dates are written in lists and forms: one way, that of the display columns."""
