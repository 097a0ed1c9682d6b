"""The base for `kubectl apply -k`: what the chart renders, and what an overlay makes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from dev.chart import rendered_files
from dev.crds import BASE
from tests.integration.manifests import Api

OVERLAY = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
nameSuffix: -lab
resources: [{base}]
images:
  - name: ghcr.io/populate-operator/populate-operator
    newName: registry.example/operator
    newTag: "1.2.3"
"""


@pytest.fixture
def overlay(api: Api, tmp_path: Path) -> Path:
    """A user's overlay: a namespace, a suffix and an image of their own."""
    text = OVERLAY.format(namespace=api.namespace, base=os.path.relpath(BASE, tmp_path.resolve()))
    (tmp_path / "kustomization.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("path", rendered_files(), ids=lambda path: path.name)
def test_base_is_what_the_chart_renders(path: Path) -> None:
    assert path.read_text() == rendered_files()[path], "run: make chart"


def test_base_is_not_helms(api: Api) -> None:
    documents = list(yaml.safe_load_all(api.kubectl("kustomize", str(BASE))))
    assert "CustomResourceDefinition" in {document["kind"] for document in documents}
    labels = [document["metadata"].get("labels", {}) for document in documents]
    assert not [each for each in labels if "app.kubernetes.io/managed-by" in each or "helm.sh/chart" in each]


def test_overlay_is_accepted(api: Api, overlay: Path) -> None:
    options = ["--server-side", "--force-conflicts", "--dry-run=server", "--warnings-as-errors"]
    applied = api.kubectl("apply", *options, "-o", "name", "-k", str(overlay)).split()
    assert "deployment.apps/populate-operator-lab" in applied
    assert "customresourcedefinition.apiextensions.k8s.io/populatequeues.populate.datajoint.io" in applied


def test_overlay_reaches_every_place(api: Api, overlay: Path) -> None:
    documents = {
        (document["kind"], document["metadata"]["name"]): document
        for document in yaml.safe_load_all(api.kubectl("kustomize", str(overlay)))
    }
    pod = documents["Deployment", "populate-operator-lab"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example/operator:1.2.3"
    assert ("ServiceAccount", pod["serviceAccountName"]) in documents
    for (kind, _), document in documents.items():
        if kind.endswith("Binding"):
            assert document["subjects"] == [
                {"kind": "ServiceAccount", "name": pod["serviceAccountName"], "namespace": api.namespace}
            ]
    assert "populate-system" not in str(documents)
