"""What this machine needs to reach its package index: secrets of a build, never part of an image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dev.console import SetupError

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
CONNECTION = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout")
CA_IN_BUILD = "/run/secrets/ca"


def write_secrets(folder: Path) -> dict[str, Path]:
    """Files by the name of their build secret: `ca`, the machine's certificates, and `pip`, a pip.conf."""
    folder.mkdir(parents=True, exist_ok=True)
    secrets = {"ca": folder / "ca", "pip": folder / "pip"}
    secrets["ca"].write_bytes(ca_bundle().read_bytes())
    secrets["pip"].write_text(pip_conf())
    secrets["pip"].chmod(0o600)
    return secrets


def ca_bundle() -> Path:
    """The certificates that this machine trusts; raises SetupError when there are none."""
    named = [os.environ.get(name, "") for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")]
    found = next((Path(name) for name in (*named, *BUNDLES) if name and Path(name).is_file()), None)
    if found is None:
        raise SetupError(
            "no certificate bundle was found: install ca-certificates, or name one in SSL_CERT_FILE"
        )
    return found


def pip_conf() -> str:
    """A pip.conf with this machine's index, proxy and certificates, from its pip files and environment."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings: dict[str, str] = {}
    for line in listed.splitlines():  # such as global.timeout='60', or :env:.timeout='60', which comes last
        key, _, value = line.partition("=")
        option = key.rpartition(".")[2]
        if option in CONNECTION:
            settings[option.removeprefix("default-")] = value.strip("'").replace("\\n", "\n    ")
    lines = [f"{option} = {value}" for option, value in settings.items()]
    return "\n".join(["[global]", f"cert = {CA_IN_BUILD}", *lines, ""])
