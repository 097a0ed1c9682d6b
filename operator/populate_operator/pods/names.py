"""Names that users and other programs see: labels, annotations, the finalizer, pod names."""

from __future__ import annotations

import base64
import hashlib
import re

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "populate-operator"
QUEUE_LABEL = "populate.datajoint.io/queue"
QUEUE_UID_LABEL = "populate.datajoint.io/queue-uid"
KEY_ANNOTATION = "populate.datajoint.io/key"
ATTEMPT_ANNOTATION = "populate.datajoint.io/attempt"
FINALIZER = "populate.datajoint.io/outcome"
QUEUE_FINALIZER = "populate.datajoint.io/queue"
LEASE = "populate-operator"  # of leader election; the chart's rules name it too
MAIN_CONTAINER = "populate"

JOB_PODS = f"{MANAGED_BY_LABEL}={MANAGED_BY},{QUEUE_UID_LABEL}"
"""Label selector of the pods that run jobs. A pod without the queue-uid label is never one of them."""

ENTROPY_BYTES = 8
_MAX_LABEL = 63
_SUFFIX_LENGTH = 12


def pod_name(queue: str, entropy: bytes) -> str:
    """A DNS-1123 label `<queue>-<12 base32 characters>` of at most 63 characters; pure.

    `entropy`: at least 8 random bytes. A label, not a subdomain, because the name becomes the host name.
    Raises ValueError when `entropy` is too short to make names unique.
    """
    if len(entropy) < ENTROPY_BYTES:
        raise ValueError(f"entropy must have at least {ENTROPY_BYTES} bytes, not {len(entropy)}")
    suffix = base64.b32encode(entropy).decode().lower()[:_SUFFIX_LENGTH]
    return f"{_stem(queue)}-{suffix}"


def is_pod_name(name: str, queue: str) -> bool:
    """Whether `pod_name` may have made `name` for `queue`: of what a pod tells, nobody can edit this."""
    return re.fullmatch(rf"{re.escape(_stem(queue))}-[a-z2-7]{{{_SUFFIX_LENGTH}}}", name) is not None


def _stem(queue: str) -> str:
    stem = re.sub(r"[^a-z0-9-]+", "-", queue.lower())[: _MAX_LABEL - _SUFFIX_LENGTH - 1].strip("-")
    return stem or "q"


def label_value(text: str) -> str:
    """`text` as a label value: object names may have 253 characters, label values 63."""
    if len(text) <= _MAX_LABEL:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: _MAX_LABEL - 9].rstrip('-._')}-{digest}"
