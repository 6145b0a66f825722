"""The listeners of a broker, and the properties with which a client reaches each.

`CONTROLLER` and `INTERNAL` are the cluster's own: brokers talk to each other there,
and so does the harness (topics, reading back), so that whatever is connected to a
client listener is the client under test.
"""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from .certificates import KEYSTORE_PASSWORD
from .ports import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .certificates import Certificates

ClientListener: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_SSL", "OAUTHBEARER"]
Listener: TypeAlias = Literal["CONTROLLER", "INTERNAL"] | ClientListener

CLIENT_LISTENERS: tuple[ClientListener, ...] = get_args(ClientListener)
LISTENERS: tuple[Listener, ...] = ("CONTROLLER", "INTERNAL", *CLIENT_LISTENERS)

SCRAM_USER = "alice"
SCRAM_PASSWORD = "alice-password"

_PROTOCOLS: dict[Listener, str] = {
    "CONTROLLER": "PLAINTEXT",
    "INTERNAL": "PLAINTEXT",
    "PLAINTEXT": "PLAINTEXT",
    "SSL": "SSL",
    "SASL_SSL": "SASL_SSL",
    "OAUTHBEARER": "SASL_PLAINTEXT",
}
_SECURITY = "org.apache.kafka.common.security"


def server_properties(
    ports: Mapping[Listener, int], certificates: Certificates
) -> dict[str, str]:
    """What a broker's configuration says about its listeners."""
    where = {name: f"{name}://{HOST}:{port}" for name, port in ports.items()}
    advertised = [url for name, url in where.items() if name != "CONTROLLER"]
    return {
        "listeners": ",".join(where.values()),
        "advertised.listeners": ",".join(advertised),
        "listener.security.protocol.map": ",".join(
            f"{name}:{_PROTOCOLS[name]}" for name in ports
        ),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INTERNAL",
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(certificates.keystore),
        "ssl.keystore.password": KEYSTORE_PASSWORD,
        "listener.name.sasl_ssl.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            f"{_SECURITY}.scram.ScramLoginModule required;"
        ),
        "listener.name.oauthbearer.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.oauthbearer.oauthbearer.sasl.jaas.config": (
            f"{_SECURITY}.oauthbearer.OAuthBearerLoginModule required "
            'unsecuredLoginStringClaim_sub="broker";'
        ),
    }


def client_properties(
    kind: Listener, bootstrap_servers: str, ca: Path
) -> dict[str, str]:
    """The librdkafka properties for a listener."""
    common = {
        "bootstrap.servers": bootstrap_servers,
        "security.protocol": _PROTOCOLS[kind].lower(),
    }
    tls = {"ssl.ca.location": str(ca)}
    match kind:
        case "CONTROLLER" | "INTERNAL" | "PLAINTEXT":
            return common
        case "SSL":
            return common | tls
        case "SASL_SSL":
            return (
                common
                | tls
                | {
                    "sasl.mechanism": "SCRAM-SHA-512",
                    "sasl.username": SCRAM_USER,
                    "sasl.password": SCRAM_PASSWORD,
                }
            )
        case "OAUTHBEARER":
            return common | {
                "sasl.mechanism": "OAUTHBEARER",
                "enable.sasl.oauthbearer.unsecure.jwt": "true",
                "sasl.oauthbearer.config": f"principal={SCRAM_USER}",
            }


def unsecured_token(
    principal: str = SCRAM_USER, lifetime: float = 300.0
) -> tuple[str, float]:
    """An unsigned token that the broker accepts, and its expiry (epoch seconds).

    What a client's `oauth_cb` returns; `lifetime` is in seconds. The broker accepts it
    for a minute longer: a login takes its time.
    """
    now = time.time()
    expiry = now + lifetime
    claims = {"sub": principal, "iat": int(now), "exp": int(expiry + 60)}
    return f"{_base64({'alg': 'none'})}.{_base64(claims)}.", expiry


def _base64(content: Mapping[str, object]) -> str:
    raw = json.dumps(content, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
