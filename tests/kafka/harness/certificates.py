"""A certificate authority and a broker certificate, made with openssl."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from .errors import HarnessError
from .jars import openssl

if TYPE_CHECKING:
    from pathlib import Path

KEYSTORE_PASSWORD = "keystore-password"
_KEY = ("-newkey", "rsa:2048", "-nodes")
_SERVER_EXTENSIONS = (
    "subjectAltName=IP:127.0.0.1,DNS:localhost\n"
    "basicConstraints=CA:FALSE\n"
    "extendedKeyUsage=serverAuth\n"
)


class Certificates:
    """`ca` is for clients (PEM); `keystore` is for brokers (PKCS12).

    `stranger` is the certificate of an authority that signed nothing here.
    """

    def __init__(self, folder: Path) -> None:
        """Make them in `folder`, which is created; takes about half a second."""
        folder.mkdir()
        self._folder = folder
        self._openssl = openssl()
        self.ca = self._authority("ca")
        self.stranger = self._authority("stranger")
        self.keystore = self._server_keystore()

    def _authority(self, name: str) -> Path:
        self._run(
            *("req", "-x509", *_KEY, "-days", "30", "-subj", f"/CN=test {name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
        )
        return self._folder / f"{name}.pem"

    def _server_keystore(self) -> Path:
        self._run(
            *("req", *_KEY, "-subj", "/CN=localhost"),
            *("-keyout", "server.key", "-out", "server.csr"),
        )
        (self._folder / "server.ext").write_text(_SERVER_EXTENSIONS)
        self._run(
            *("x509", "-req", "-in", "server.csr", "-days", "30"),
            *("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-extfile", "server.ext", "-out", "server.pem"),
        )
        self._run(
            *("pkcs12", "-export", "-in", "server.pem", "-inkey", "server.key"),
            *("-certfile", "ca.pem", "-name", "broker", "-out", "server.p12"),
            *("-passout", f"pass:{KEYSTORE_PASSWORD}"),
        )
        return self._folder / "server.p12"

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [self._openssl, *arguments],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise HarnessError(f"openssl {arguments[0]} failed:\n{done.stderr}")
