"""
Who calls: Bearer tokens, verified.

HS256 tokens are checked with BILLING_JWT_SECRET only and asymmetric ones with the keys at BILLING_JWT_KEYS only, so a
public key can never serve as a shared secret. Source: contract chapter Accounts and tokens.
"""

from __future__ import annotations

import functools
import logging
import time
from hashlib import sha256
from typing import Any, ClassVar, Final

import jwt
from django.conf import settings
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from billing_site.kernel.actors import Audience, Principal
from billing_site.kernel.errors import DomainError, StorageUnavailable
from billing_site.platform.services.tokens import SecretMissing, get_audience_values, get_secret

logger = logging.getLogger(__name__)

REALM: Final = 'Bearer realm="billing"'
_ASYMMETRIC: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
_LEEWAY_SECONDS: Final = 5  # clocks of the issuer and of this server differ a little
_MAX_SUBJECT: Final = 255
# Tokens that held, by their digest and what they were verified with: the claims, and until when that is believed.
_KNOWN_SECONDS: Final = 60
_KEPT_TOKENS: Final = 1000
_verified: dict[tuple[bytes, str, str], tuple[dict[str, Any], float]] = {}


class TokenMissing(DomainError):
    code, title, status = "token_missing", "A Bearer token is needed", 401
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": REALM}


class TokenInvalid(DomainError):
    code, title, status = "token_invalid", "The token is not valid", 401
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": f'{REALM}, error="invalid_token"'}


class JWTAuthentication(BaseAuthentication):
    """Turn `Authorization: Bearer <JWT>` into a `Principal`; any other scheme counts as no token."""

    def authenticate(self, request: Request) -> tuple[Principal, dict[str, Any]] | None:
        return authenticate_bearer(get_authorization_header(request))

    def authenticate_header(self, request: Request) -> str:
        return REALM


def authenticate_bearer(header: bytes) -> tuple[Principal, dict[str, Any]] | None:
    """
    Return the caller that an Authorization header speaks of, and the claims; None without a Bearer token.

    :raises TokenInvalid: when the token does not hold.
    """
    parts = header.split()
    if not parts or parts[0].lower() != b"bearer":
        return None
    if len(parts) != 2:
        raise TokenInvalid("The Authorization header must be: Bearer, one space, the token.")
    try:
        token = parts[1].decode("ascii")
    except UnicodeDecodeError as error:
        raise TokenInvalid("The token is not ASCII text.") from error
    claims = verify_token(token)
    return read_principal(claims), claims


def verify_token(token: str) -> dict[str, Any]:
    """
    Return the claims of a token whose signature and times hold.

    One that held is known for a minute: a service sends the same one with every call, and to verify it costs more than
    many an answer. Its end is looked at every time.
    :raises TokenInvalid: when they do not.
    :raises StorageUnavailable: when the key server cannot be reached, which says nothing about the token.
    """
    key = (sha256(token.encode()).digest(), settings.BILLING_JWT_SECRET, settings.BILLING_JWT_KEYS)
    now = time.time()
    if (known := _verified.get(key)) is not None and now < known[1]:
        return dict(known[0])
    claims = _verify(token)
    if len(_verified) >= _KEPT_TOKENS:
        _verified.clear()
    # PyJWT refuses a token from the instant that its end lies the leeway back.
    _verified[key] = (claims, min(now + _KNOWN_SECONDS, int(claims["exp"]) + _LEEWAY_SECONDS))
    return dict(claims)


def _verify(token: str) -> dict[str, Any]:
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm == "HS256":
            key: Any = get_secret()
        elif algorithm in _ASYMMETRIC:
            key = _find_key(header.get("kid"))
        else:
            raise TokenInvalid("The token is signed with an algorithm that is not accepted.")
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            leeway=_LEEWAY_SECONDS,
            options={"require": ["sub", "aud", "iat", "exp"], "verify_aud": False},
        )
    except jwt.ExpiredSignatureError as error:
        raise TokenInvalid("The token has expired.") from error
    except jwt.ImmatureSignatureError as error:
        raise TokenInvalid("The token is not valid yet.") from error
    except jwt.MissingRequiredClaimError as error:
        raise TokenInvalid(f"The token has no claim {error.claim}.") from error
    except SecretMissing as error:
        logger.warning("a token with a shared secret was refused: %s", error)
        raise TokenInvalid("The token is signed with an algorithm that is not accepted.") from error
    except jwt.PyJWKClientConnectionError as error:
        logger.error("the token keys cannot be fetched: %s", error)
        raise StorageUnavailable("The keys that verify tokens cannot be fetched right now.") from error
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise TokenInvalid("The token cannot be read or its signature is wrong.") from error


def read_principal(claims: dict[str, Any]) -> Principal:
    """
    Return the caller that verified claims speak of.

    :raises TokenInvalid: unless the audience is exactly one of ours and every claim has its type.
    """
    subject, scope, org = claims["sub"], claims.get("scope", ""), claims.get("org")
    if not isinstance(subject, str) or not subject.strip() or len(subject) > _MAX_SUBJECT or "\x00" in subject:
        raise TokenInvalid("The claim sub must be a text of 1 to 255 characters.")
    if not isinstance(scope, str):
        raise TokenInvalid("The claim scope must be a text with spaces between the scopes.")
    # An organization that is present but empty must not widen access to all of them.
    if org is not None and (not isinstance(org, str) or not org.strip()):
        raise TokenInvalid("The claim org must be a text.")
    return Principal(
        audience=_read_audience(claims["aud"]),
        subject=subject,
        scopes=frozenset(scope.split()),
        org=org.strip() if org is not None else None,
    )


def _read_audience(claim: object) -> Audience:
    values = [claim] if isinstance(claim, str) else claim
    if not isinstance(values, list):
        raise TokenInvalid("The claim aud must be a text or a list of texts.")
    matched = [audience for audience, value in get_audience_values().items() if value in values]
    if len(matched) != 1:
        raise TokenInvalid("The token is not meant for exactly one audience of this service.")
    return matched[0]


def _find_key(kid: object) -> jwt.PyJWK:
    if not settings.BILLING_JWT_KEYS:
        raise TokenInvalid("The token is signed with an algorithm that is not accepted.")
    client = _make_key_client(settings.BILLING_JWT_KEYS)
    if isinstance(kid, str) and kid:
        key = client.get_signing_key(kid)
    else:  # a key server with a single key may leave kid out
        keys = client.get_signing_keys()
        if len(keys) != 1:
            raise TokenInvalid("The token does not name its key (kid).")
        key = keys[0]
    if key.key_type == "oct":
        raise TokenInvalid("The token names a key that is not public.")
    return key


@functools.lru_cache(maxsize=4)
def _make_key_client(url: str) -> jwt.PyJWKClient:
    """One client per process: it caches the key set and limits how often unknown key ids make it ask again."""
    return jwt.PyJWKClient(url, timeout=5, lifespan=300, cooldown_duration=10)
