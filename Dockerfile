# The operator on any Python >= 3.11 base that has the venv module. Three layers: the base, the libraries (they
# change with the lock file) and the operator itself (seconds, a few hundred kilobytes).
ARG BASE=docker.io/library/python:3.12-slim

FROM ${BASE} AS libraries
# What builds stays apart from what runs: pip and hatchling in one environment, the locked libraries in the other.
# The kubernetes package loads its thousands of models when one is used: byte code for all would be 50 MB of waste.
# The optional secrets `pip` and `ca` are the building machine's pip.conf and certificates; no layer keeps them.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/venv
COPY requirements.lock .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    /opt/build/bin/pip install --no-cache-dir 'hatchling>=1.27,<2' \
    && /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile \
       --only-binary :all: --require-hashes -r requirements.lock \
    && /opt/venv/bin/python -m compileall -q -x /site-packages/kubernetes/ /opt/venv/lib

FROM libraries AS operator
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/build/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-index --no-deps \
       --root /staging /dist/*.whl

FROM ${BASE}
COPY --from=libraries /opt/venv /opt/venv
COPY --from=operator /staging/opt/venv /opt/venv
# Nothing is written at run time: the root file system can be read-only.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="populate-operator" \
      org.opencontainers.image.description="A Kubernetes operator that populates DataJoint tables" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
ENTRYPOINT ["populate-operator"]
