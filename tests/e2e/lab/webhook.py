"""An admission webhook on this machine that behaves as a test wants, and counts what it is asked."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Json = dict[str, Any]
ALLOWED: Json = {"allowed": True}
Verdict = Callable[[Json], Json | None]  # of an admission request; None: no answer at all


class Webhook:
    """Judges the creation of pods; each path by a verdict of its own."""

    def __init__(self, address: str, folder: Path) -> None:
        self.verdicts: dict[str, Verdict] = {}
        self.asked: Counter[str] = Counter()
        self._released = threading.Event()
        self._certificate = _write_certificate(address, folder)
        self._server = ThreadingHTTPServer((address, 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "webhook.crt", folder / "webhook.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://{address}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def manifest(self, name: str, path: str, selector: Json, namespace: str) -> Json:
        """Ask at `path` about every pod that `selector` matches; who gets no answer within 1 s is refused."""
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [
                {
                    "name": "pods.webhook.test",
                    "clientConfig": {"url": self.url + path, "caBundle": self._certificate},
                    "rules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "resources": ["pods"],
                            "operations": ["CREATE"],
                        }
                    ],
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                    "objectSelector": selector,
                    "failurePolicy": "Fail",
                    "timeoutSeconds": 1,
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                }
            ],
        }

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(webhook) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                path = self.path.partition("?")[0]
                webhook.asked[path] += 1
                verdict = webhook.verdicts[path](review["request"])
                if verdict is None:
                    webhook._released.wait()
                    return
                review["response"] = {"uid": review["request"]["uid"], **verdict}
                answer = json.dumps(review).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _write_certificate(address: str, folder: Path) -> str:
    """A certificate signed by itself, with its key; what a caBundle holds of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "webhook")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "webhook.crt").write_bytes(pem)
    (folder / "webhook.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return base64.b64encode(pem).decode()


@contextmanager
def webhook(address: str, folder: Path) -> Iterator[Webhook]:
    found = Webhook(address, folder)
    try:
        yield found
    finally:
        found.close()
