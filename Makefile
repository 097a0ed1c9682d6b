# Everything a developer needs. What is built or downloaded lives in $(POPULATE_CACHE), never in the checkout.
export POPULATE_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/populate-operator
PYTHON ?= python3
LOCK_HASH := $(shell grep -v '^ *\#' requirements-dev.lock | cksum | cut -d' ' -f1)
VENV := $(POPULATE_CACHE)/venv/$(LOCK_HASH)
PY := PYTHONPATH=operator $(VENV)/bin/python
PYTEST_ARGS ?=

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up -------------------------------------------------------------------------------------
.PHONY: venv
venv: $(VENV)/.complete ## the locked Python environment

$(VENV)/.complete:
	@dev/venv.sh $(PYTHON) $(VENV)

.PHONY: lock
lock: venv ## resolve the lock files again from pyproject.toml
	@dev/lock.sh $(VENV)

# --- the local cluster, its images and databases ------------------------------------------------
.PHONY: cluster-up cluster-down cluster-status cluster-env images
cluster-up: venv ## a real Kubernetes: POPULATE_KUBECONFIG, kind or native (FAKE_NODES=10 adds kwok nodes)
	@$(PY) -m dev.cluster up $(if $(FAKE_NODES),--fake-nodes $(FAKE_NODES))

cluster-down: venv ## stop the local cluster and remove every trace of it
	@$(PY) -m dev.cluster down

cluster-status: venv ## what runs, where, since when
	@$(PY) -m dev.cluster status

cluster-env: venv ## shell lines that point kubectl at the cluster: eval "$$(make -s cluster-env)"
	@$(PY) -m dev.cluster env

images: cluster-up ## build the images and load them into the cluster
	@$(PY) -m dev.images

.PHONY: chaos
MINUTES ?= 10
SEED ?= 1
chaos: images ## break everything at random for MINUTES=10, in a cluster of its own; SEED=1 repeats a plan
	@PYTHONPATH=operator:. $(VENV)/bin/python -m tests.chaos --minutes $(MINUTES) --seed $(SEED)

# --- the product --------------------------------------------------------------------------------
.PHONY: demo demo-down
demo: images ## from nothing to a populated pipeline: results, failures and pictures
	@$(PY) -m dev.demo up

demo-down: venv ## remove what the demo made
	@$(PY) -m dev.demo down

.PHONY: crds chart
crds: venv ## generate crds/ and docs/reference.md from the resource's models
	@$(PY) -m dev.crds

chart: venv ## generate the chart's version and README, and the kustomize base rendered from it
	@$(PY) -m dev.chart

# --- release ------------------------------------------------------------------------------------
.PHONY: version-check release-notes release-files
version-check: venv ## does TAG=v0.2.0 repeat the version of the sources, and the changelog know it
	@$(PY) -m dev.release check "$$TAG"

release-notes: venv ## the changelog's section of this version
	@$(PY) -m dev.release notes

release-files: venv ## dist/: install manifest of IMAGE= by its DIGEST=, CRD, chart and checksums
	@$(PY) -m dev.release files "$$IMAGE" "$$DIGEST"

# --- checks -------------------------------------------------------------------------------------
.PHONY: lint fmt test-unit test-integration test-e2e test
lint: venv ## ruff, mypy strict, import contracts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@MYPYPATH=operator:. $(VENV)/bin/mypy
	@PYTHONPATH=operator $(VENV)/bin/lint-imports --no-cache

.PHONY: audit
audit: venv ## known vulnerabilities of the locked packages
	@dev/audit.sh $(VENV)

fmt: venv ## format and mend what can be mended
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

test-unit: venv ## pure code, seconds, nothing but Python
	@$(PY) -m pytest tests/unit $(PYTEST_ARGS)

test-integration: venv ## real MySQL, MariaDB and API server
	@$(PY) -m dev.check tests/integration $(PYTEST_ARGS)

test-e2e: venv ## real pods on the cluster
	@$(PY) -m dev.check tests/e2e $(PYTEST_ARGS)

test: lint ## everything: set-up, lint and all tiers, one summary
	@$(PY) -m dev.check tests/unit tests/integration tests/e2e $(PYTEST_ARGS)
