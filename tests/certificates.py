"""A certificate authority of the test's own, and a server certificates that it signed."""

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

    def issue(self, host: str, *, lasting: timedelta = timedelta(days=1)) -> tuple[str, str]:
        """A certificate for the IP address or DNS name `host`, and its private key, both PEM."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = _build("database", key, "populate test CA", self._key, host=host, lasting=lasting)
        unencrypted = serialization.NoEncryption()
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return (
            certificate.public_bytes(pem).decode(),
            key.private_bytes(pem, pkcs8, unencrypted).decode(),
        )

    def issue_files(self, folder: Path, host: str) -> tuple[Path, Path, Path]:
        """Files of the authority, of a certificate for `host`, and of its private key."""
        files = folder / "own-ca.pem", folder / "own-cert.pem", folder / "own-key.pem"
        for file, content in zip(files, (self.pem, *self.issue(host)), strict=True):
            file.write_text(content)
        return files


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _build(
    subject: str,
    key: rsa.RSAPrivateKey,
    issuer: str,
    signer: rsa.RSAPrivateKey,
    *,
    is_ca: bool = False,
    host: str | None = None,
    lasting: timedelta = timedelta(days=1),
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + lasting)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if host is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(host)]), critical=False)
    return builder.sign(signer, hashes.SHA256())
