"""What an error says of the queue: whether the database was reached, and what stands in the way."""

from __future__ import annotations

import pytest

from populate_operator.jobs import (
    AccessDenied,
    BadKeySource,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnreachable,
    NoSuchSchema,
    NoSuchTable,
)
from populate_operator.pods.errors import Unreachable
from populate_operator.queue.access import NotReady
from populate_operator.queue.conditions import Trouble
from populate_operator.queue.trouble import Expected, is_about_reaching, is_from_database, trouble_of


@pytest.mark.parametrize(
    ("error", "reason", "about_reaching", "from_database"),
    [
        (DatabaseUnreachable("x"), "DatabaseUnreachable", True, False),
        (AccessDenied("x"), "AccessDenied", True, False),
        (DatabaseReadOnly("x"), "DatabaseReadOnly", True, False),
        (DatabaseFull("x"), "DatabaseFull", True, False),
        (NoSuchSchema("x"), "NoSuchSchema", False, True),
        (NoSuchTable("x"), "NoSuchTable", False, True),
        (BadKeySource("x"), "BadKeySource", False, False),  # mostly found without asking the server
        (NotReady("SecretNotFound", "x"), "SecretNotFound", False, False),
        (Unreachable("x"), "ApiUnreachable", False, False),
    ],
)
def test_each_error_has_a_reason_and_tells_whether_the_database_was_reached(
    error: Expected, reason: str, about_reaching: bool, from_database: bool
) -> None:
    assert trouble_of(error) == Trouble(reason, "x")
    assert is_about_reaching(error) == about_reaching
    assert is_from_database(error) == from_database


@pytest.mark.parametrize(
    "text",
    [
        "certificate verify failed: unable to get local issuer certificate",
        "certificate verify failed: self-signed certificate in certificate chain",
        "the CA certificate for TLS is not PEM text",
    ],
)
def test_an_untrusted_certificate_leads_to_the_field_of_the_ca(text: str) -> None:
    assert "spec.database.tls.caSecretName" in trouble_of(DatabaseUnreachable(text)).message


def test_an_expired_certificate_is_no_matter_of_the_ca() -> None:
    text = "certificate verify failed: certificate has expired"
    assert trouble_of(DatabaseUnreachable(text)).message == text
