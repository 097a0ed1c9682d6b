"""The database part of a PopulateQueue's spec: server, account and TLS."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from populate_operator.queue.model import Model, SecretKey, SecretName, cel, cel_rules


class Credentials(Model):
    """The Secret that holds the database account."""

    secret_name: SecretName = Field(
        description="Name of a Secret in the queue's own namespace; a rotation is followed without a restart."
    )
    username_key: SecretKey = Field("username", description="Key of the user name in the Secret.")
    password_key: SecretKey = Field("password", description="Key of the password in the Secret.")


class Tls(Model):
    """How the connection to the database is secured, in MySQL's terms."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel(
                "!has(self.caSecretName) || self.mode in ['VerifyCA', 'VerifyIdentity']",
                "caSecretName is for the modes VerifyCA and VerifyIdentity only: set one, or remove it",
                fieldPath=".caSecretName",
            )
        )
    )

    mode: Literal["Disabled", "Preferred", "Required", "VerifyCA", "VerifyIdentity"] = Field(
        "Preferred",
        description="Disabled: plain text. Preferred: TLS where the server offers it. "
        "Required: TLS or nothing. VerifyCA: the server's certificate is checked. "
        "VerifyIdentity: its host name too.",
    )
    ca_secret_name: SecretName | None = Field(
        None,
        description="Secret with the CA certificate that VerifyCA and VerifyIdentity trust. "
        "Without it, the system's certificates.",
    )
    ca_key: SecretKey = Field("ca.crt", description="Key of the CA certificate in that Secret.")


class Database(Model):
    """The MySQL (8.0 or newer) or MariaDB (10.6 or newer) server."""

    host: str = Field(
        description="Host name or address of the server, as seen from the operator and from the pods.",
        min_length=1,
        max_length=253,
        pattern=r"^[A-Za-z0-9]([-A-Za-z0-9._:]*[A-Za-z0-9])?$",
    )
    port: int = Field(3306, description="TCP port of the server.", ge=1, le=65535)
    credentials: Credentials = Field(description="The account that the operator and the pods use.")
    tls: Tls = Field(default_factory=Tls, description="TLS to the server.")
