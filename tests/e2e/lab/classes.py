"""DataJoint classes for pods by a ConfigMap, and for programs beside them through the forwarded port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.lab import database
from tests.e2e.lab.workplace import Workplace

Json = dict[str, Any]
MODULES = Path(__file__).parent / "mounted"
_MOUNT = "/pipelines"


def run_python(place: Workplace, code: str) -> str:
    """Run `code` with the mounted modules on its path, as a DataJoint user would; what it printed."""
    account = {
        "DJ_HOST": "127.0.0.1",
        "DJ_PORT": str(place.database.port),
        "DJ_USER": database.USER,
        "DJ_PASS": database.PASSWORD,
        "POPULATE_SCHEMA": place.schema,
        "PYTHONPATH": str(MODULES),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | account, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def declare(place: Workplace, *, keys: int, module: str = "pipeline") -> None:
    """Declare the tables, and their jobs' too as DataJoint does it; `Session` gets the keys 1..keys."""
    insert = f"Session.insert({{'session': n}} for n in range(1, {keys + 1}))"
    run_python(place, f"from {module} import Session; {insert}")


def template_of(place: Workplace) -> Json:
    """A template that has the mounted modules, for `runner.class`."""
    files = {path.name: path.read_text() for path in MODULES.glob("*.py")}
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "pipeline", "namespace": place.namespace},
        "data": files,
    }
    place.cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))
    template = place.template(
        env=[{"name": "PYTHONPATH", "value": _MOUNT}],
        volumeMounts=[{"name": "pipeline", "mountPath": _MOUNT}],
    )
    template["spec"]["volumes"] = [{"name": "pipeline", "configMap": {"name": "pipeline"}}]
    return template
