"""A certificate authority of the test's own, and a server certificate that it signed."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates; `pem` is what clients have to trust."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._certificate = _build("populate test CA", self._key, "populate test CA", self._key, is_ca=True)
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, folder: Path, address: str) -> tuple[Path, Path, Path]:
        """Files of the authority, of a certificate for the IP address, and of its private key."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = _build("database", key, "populate test CA", self._key, address=address)
        unencrypted = serialization.NoEncryption()
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        contents = {
            "own-ca.pem": self.pem.encode(),
            "own-cert.pem": certificate.public_bytes(pem),
            "own-key.pem": key.private_bytes(pem, pkcs8, unencrypted),
        }
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        ca, cert, private = (folder / name for name in contents)
        return ca, cert, private


def _build(
    subject: str,
    key: rsa.RSAPrivateKey,
    issuer: str,
    signer: rsa.RSAPrivateKey,
    *,
    is_ca: bool = False,
    address: str | None = None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if address is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())
