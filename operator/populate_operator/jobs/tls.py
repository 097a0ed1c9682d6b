"""TLS to the database in MySQL's own terms."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, Literal

from populate_operator.jobs.errors import DatabaseUnreachable

TlsMode = Literal["Disabled", "Preferred", "Required", "VerifyCA", "VerifyIdentity"]


@dataclass(frozen=True, slots=True)
class Tls:
    """How the connection is encrypted.

    `mode` means what it means to MySQL's own clients: `Preferred` encrypts where the server can,
    `Required` refuses to go on without, `VerifyCA` checks the server's certificate against `ca`,
    `VerifyIdentity` also checks its host name. `ca` is PEM text; None means the system's trust store.
    """

    mode: TlsMode = "Preferred"
    ca: str | None = None


def build_connect_arguments(tls: Tls) -> dict[str, Any]:
    """The arguments of `pymysql.connect` for `tls`.

    Raises DatabaseUnreachable when `ca` is not PEM.
    """
    match tls.mode:
        case "Disabled":
            return {"ssl_disabled": True}
        case "Preferred":
            return {}  # pymysql's own default: TLS where the server offers it
        case "Required":
            return {"ssl": _context(None, verify=False, check_hostname=False)}
        case "VerifyCA":
            return {"ssl": _context(tls.ca, verify=True, check_hostname=False)}
        case "VerifyIdentity":
            return {"ssl": _context(tls.ca, verify=True, check_hostname=True)}


def _context(ca: str | None, *, verify: bool, check_hostname: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise DatabaseUnreachable(
            f"the CA certificate for TLS is not PEM text ({error}); give the file that starts with "
            "'-----BEGIN CERTIFICATE-----'"
        ) from error
    # MySQL's and MariaDB's generated CA certificates lack the extensions that strict checking asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = check_hostname
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    return context
