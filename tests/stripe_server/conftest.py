"""The server's own tests use the fixture it offers."""

from tests.stripe_server.plugin import stripe_server

__all__ = ["stripe_server"]
