"""The provider for a cluster that somebody else runs, named by POPULATE_KUBECONFIG."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from dev.cluster.state import State
from dev.console import SetupError

NAME = "external"


def chosen_context(environment: Mapping[str, str] = os.environ) -> tuple[Path, str] | None:
    """Kubeconfig and context of the cluster to use, None when none is named.

    Raises SetupError unless POPULATE_KUBECONTEXT names a context of the file: tests create and delete
    things, so whatever context happens to be current is never taken.
    """
    named = environment.get("POPULATE_KUBECONFIG")
    if not named:
        return None
    file = Path(named).expanduser()
    if not file.is_file():
        raise SetupError(f"POPULATE_KUBECONFIG names {file}, which is no file")
    content = yaml.safe_load(file.read_text()) or {}
    contexts = [entry["name"] for entry in content.get("contexts") or []]
    context = environment.get("POPULATE_KUBECONTEXT")
    if not context:
        raise SetupError(
            "POPULATE_KUBECONFIG is set, and tests create and delete things in its cluster: name the "
            f"context on purpose with POPULATE_KUBECONTEXT (the file has: {', '.join(contexts) or 'none'})"
        )
    if context not in contexts:
        raise SetupError(
            f"POPULATE_KUBECONTEXT names '{context}', but {file} has only: {', '.join(contexts) or 'none'}"
        )
    return file, context


def named(environment: Mapping[str, str] = os.environ) -> State | None:
    """The cluster that the environment names, None when it names none.

    It is asked anew by every command and remembered by none, so that nothing happens in somebody's
    cluster once the variables are gone. Raises SetupError as `chosen_context` does.
    """
    chosen = chosen_context(environment)
    if chosen is None:
        return None
    file, context = chosen
    return State(NAME, NAME, context, str(file.resolve()), started="by somebody else")
