"""Who calls: signatures, times, audiences, key servers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from rest_framework.test import APIClient

from billing_site.api import auth
from tests.support.problems import problem
from tests.support.tokens import make_token

pytestmark = pytest.mark.urls("tests.api.probe")
URL = "/api/reference"


def ask(token: str | None = None, header: str | None = None) -> Any:
    client = APIClient()
    if token is not None:
        header = f"Bearer {token}"
    return client.get(URL, headers={"Authorization": header} if header else {})


def claims(**values: Any) -> dict[str, Any]:
    now = int(time.time())
    base = {"sub": "svc", "aud": "billing-internal", "iat": now, "exp": now + 60, "scope": "billing:read"}
    return {**base, **values}


class TestMissing:
    @pytest.mark.parametrize("header", [None, "Basic YTpi", "Token abc", "bearer"])
    def test_no_bearer_token_is_named_and_challenged(self, header: str | None) -> None:
        response = ask(header=header)
        expected = "token_invalid" if header == "bearer" else "token_missing"
        problem(response, expected, 401)
        assert response.headers["WWW-Authenticate"].startswith('Bearer realm="billing"')


class TestInvalid:
    @pytest.mark.parametrize(
        "token",
        [
            "",
            "one two",
            "abc",
            "a.b.c",
            "é.é.é",
            make_token.__name__,
            "eyJhbGciOiJIUzI1NiJ9..",
            "." * 5000,
        ],
    )
    def test_garbage(self, token: str) -> None:
        response = ask(token)
        body = problem(response, "token_invalid", 401)
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
        assert len(token) < 5 or token not in json.dumps(body)

    def test_wrong_signature(self) -> None:
        problem(ask(make_token(secret="x" * 40)), "token_invalid", 401)

    def test_changed_payload_under_the_old_signature(self) -> None:
        head, _, signature = make_token(scopes=["billing:read"]).split(".")
        payload = base64.urlsafe_b64encode(json.dumps(claims(scope="billing:money")).encode()).rstrip(b"=").decode()
        problem(ask(f"{head}.{payload}.{signature}"), "token_invalid", 401)

    @pytest.mark.parametrize("algorithm", ["none", "None", "NONE"])
    def test_unsigned(self, algorithm: str) -> None:
        head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode()).rstrip(b"=").decode()
        payload = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=").decode()
        problem(ask(f"{head}.{payload}."), "token_invalid", 401)

    @pytest.mark.parametrize(
        "values",
        [
            {"exp": int(time.time()) - 60},
            {"nbf": int(time.time()) + 86_400},
            {"iat": int(time.time()) + 86_400},
            {"exp": "tomorrow"},
            {"sub": None},
            {"sub": ""},
            {"sub": 7},
            {"sub": "x" * 256},
            {"exp": None},
            {"iat": None},
            {"aud": None},
            {"scope": ["billing:read"]},
            {"org": ""},
            {"org": 7},
        ],
        ids=lambda values: "-".join(f"{name}={str(value)[:3]}" for name, value in values.items()),
    )
    def test_claims(self, values: dict[str, Any]) -> None:
        problem(ask(make_token(**values)), "token_invalid", 401)

    @pytest.mark.parametrize(
        "audience",
        [
            "somebody-else",
            [],
            ["billing-api", "billing-internal"],
            {"billing-api": 1},
            5,
            "billing-api billing-internal",
        ],
    )
    def test_audience_is_not_exactly_one_of_ours(self, audience: object) -> None:
        problem(ask(make_token(aud=audience)), "token_invalid", 401)

    def test_one_setting_for_both_audiences_lets_nobody_in(self, settings: Any) -> None:
        settings.BILLING_JWT_AUDIENCE_PUBLIC = "billing-internal"
        problem(ask(make_token()), "token_invalid", 401)

    def test_no_secret_configured(self, settings: Any) -> None:
        token = make_token()
        settings.BILLING_JWT_SECRET = ""
        problem(ask(token), "token_invalid", 401)


class TestValid:
    @pytest.mark.parametrize("audience", ["billing-internal", ["billing-internal", "another-service"]])
    def test_one_audience_of_ours_among_others(self, audience: object) -> None:
        assert ask(make_token(aud=audience)).status_code == 200

    def test_base64_secret(self, settings: Any) -> None:
        raw = bytes(range(200, 240))
        settings.BILLING_JWT_SECRET = "base64:" + base64.b64encode(raw).decode()
        token = jwt.encode(claims(), raw, algorithm="HS256")
        assert ask(token).status_code == 200
        problem(ask(make_token()), "token_invalid")  # signed with the text instead of what it encodes

    def test_broken_base64_secret_lets_nobody_in(self, settings: Any) -> None:
        token = make_token()
        settings.BILLING_JWT_SECRET = "base64:***"
        problem(ask(token), "token_invalid", 401)

    def test_principal_carries_organization_and_scopes(self) -> None:
        token = make_token(subject="robot", scopes=["usage:read", "billing:read"], org="acme")
        principal = auth.read_principal(auth.verify_token(token))
        assert (principal.audience, principal.subject, principal.org) == ("internal", "robot", "acme")
        assert principal.scopes == {"usage:read", "billing:read"}
        assert str(principal.actor) == "token:robot"


class KeyServer:
    """A real key server whose keys, status and number of requests a test controls."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                body = json.dumps({"keys": outer.keys}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, public: Any, kid: str, **members: Any) -> None:
        makers: dict[type[Any], Any] = {
            rsa.RSAPublicKey: jwt.algorithms.RSAAlgorithm,
            ec.EllipticCurvePublicKey: jwt.algorithms.ECAlgorithm,
            ed25519.Ed25519PublicKey: jwt.algorithms.OKPAlgorithm,
        }
        maker = next(maker for kind, maker in makers.items() if isinstance(public, kind))
        self.keys.append({**maker.to_jwk(public, as_dict=True), "kid": kid, "use": "sig", **members})

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def key_server(settings: Any) -> Iterator[KeyServer]:
    server = KeyServer()
    settings.BILLING_JWT_KEYS = server.url
    auth._make_key_client.cache_clear()
    yield server
    server.stop()
    auth._make_key_client.cache_clear()


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class TestKeyServer:
    def test_rsa_elliptic_and_edwards_keys(self, key_server: KeyServer, rsa_key: rsa.RSAPrivateKey) -> None:
        private: dict[str, Any] = {
            "RS256": rsa_key,
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }
        for algorithm, key in private.items():
            key_server.add(key.public_key(), algorithm, alg=algorithm)
        for algorithm, key in private.items():
            token = jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": algorithm})
            assert ask(token).status_code == 200, algorithm
        assert key_server.requests == 1  # one fetch served all three

    def test_key_of_another_issuer(self, key_server: KeyServer, rsa_key: rsa.RSAPrivateKey) -> None:
        key_server.add(rsa_key.public_key(), "one")
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        problem(ask(jwt.encode(claims(), other, algorithm="RS256", headers={"kid": "one"})), "token_invalid", 401)

    def test_unknown_key_ids_do_not_make_it_ask_again_each_time(
        self, key_server: KeyServer, rsa_key: rsa.RSAPrivateKey
    ) -> None:
        key_server.add(rsa_key.public_key(), "one")
        for number in range(10):
            token = jwt.encode(claims(), rsa_key, algorithm="RS256", headers={"kid": f"guess-{number}"})
            problem(ask(token), "token_invalid", 401)
        assert key_server.requests <= 2

    def test_without_key_id_only_a_single_key_serves(self, key_server: KeyServer, rsa_key: rsa.RSAPrivateKey) -> None:
        key_server.add(rsa_key.public_key(), "one")
        token = jwt.encode(claims(), rsa_key, algorithm="RS256")
        assert ask(token).status_code == 200
        key_server.add(ed25519.Ed25519PrivateKey.generate().public_key(), "two")
        auth._make_key_client.cache_clear()
        auth._verified.clear()
        problem(ask(token), "token_invalid", 401)

    def test_public_key_does_not_serve_as_shared_secret(
        self, key_server: KeyServer, rsa_key: rsa.RSAPrivateKey
    ) -> None:
        key_server.add(rsa_key.public_key(), "one")
        pem = rsa_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        header = {"alg": "HS256", "kid": "one"}
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims())]
        signature = hmac.new(pem, b".".join(parts), hashlib.sha256).digest()
        token = b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
        problem(ask(token), "token_invalid", 401)

    def test_shared_key_on_the_key_server_is_not_used(self, key_server: KeyServer, settings: Any) -> None:
        secret = b"s" * 40
        encoded = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
        key_server.keys.append({"kty": "oct", "k": encoded, "kid": "one", "alg": "HS256"})
        problem(ask(jwt.encode(claims(), secret, algorithm="HS256", headers={"kid": "one"})), "token_invalid", 401)

    def test_unreachable_server_blames_the_service_not_the_token(
        self, key_server: KeyServer, rsa_key: rsa.RSAPrivateKey
    ) -> None:
        key_server.stop()
        token = jwt.encode(claims(), rsa_key, algorithm="RS256", headers={"kid": "one"})
        body = problem(ask(token), "storage_unavailable", 503)
        assert body["retryable"] is True
        assert key_server.url not in json.dumps(body)

    def test_unreachable_server_still_lets_shared_secrets_in(self, key_server: KeyServer) -> None:
        key_server.stop()
        assert ask(make_token()).status_code == 200


class TestKnownTokens:
    def test_are_verified_once_a_minute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        verified: list[str] = []
        decode = jwt.decode

        def verify(token: str, *arguments: Any, **more: Any) -> Any:
            verified.append(token)
            return decode(token, *arguments, **more)

        monkeypatch.setattr(jwt, "decode", verify)
        token = make_token(subject="once")
        assert [ask(token).status_code for _ in range(3)] == [200, 200, 200]
        assert len(verified) == 1
        later = time.time() + 61
        monkeypatch.setattr("billing_site.api.auth.time.time", lambda: later)
        assert ask(token).status_code == 200
        assert len(verified) == 2

    def test_end_when_they_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        token = make_token(subject="short", lifetime=5)
        assert ask(token).status_code == 200
        end = jwt.decode(token, options={"verify_signature": False})["exp"] + 5  # the leeway
        for at, expected in ((end - 0.5, 200), (end + 0.5, 401)):
            monkeypatch.setattr("billing_site.api.auth.time.time", lambda at=at: at)
            monkeypatch.setattr("billing_site.api.auth._verify", refuse)
            assert ask(token).status_code == expected

    def test_do_not_outlive_the_secret(self, settings: Any) -> None:
        token = make_token(subject="rotated")
        assert ask(token).status_code == 200
        settings.BILLING_JWT_SECRET = "another-secret-of-the-tests-with-more-than-32-bytes"
        problem(ask(token), "token_invalid", 401)

    def test_do_not_outlive_the_audience(self, settings: Any) -> None:
        token = make_token(subject="moved")
        assert ask(token).status_code == 200
        settings.BILLING_JWT_AUDIENCE_INTERNAL = "elsewhere"
        problem(ask(token), "token_invalid", 401)

    def test_are_never_more_than_a_thousand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("billing_site.api.auth._KEPT_TOKENS", 2)
        for number in range(5):
            assert ask(make_token(subject=f"many-{number}")).status_code == 200
            assert len(auth._verified) <= 2


def refuse(token: str) -> dict[str, Any]:
    raise auth.TokenInvalid("The token has expired.")
