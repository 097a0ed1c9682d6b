"""The pods of a queue: what each job's pod is requested with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from populate_operator.pods.build import RUNNER_FILE, DatabaseAccess, PodRequest, Runner
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.parse import main_container
from populate_operator.queue.plan import Reservation
from populate_operator.queue.resource import PopulateQueueSpec
from populate_operator.queue.services import Services

_SAMPLE = Reservation(key="{}", pod="", attempt=1, age=0.0)


class PodFactory:
    """Builds the requests of one queue's pods from one version of its spec."""

    def __init__(self, queue: QueueRef, spec: PopulateQueueSpec, table_id: str) -> None:
        self._queue, self._spec, self.table_id = queue, spec, table_id
        self._config_map = ""

    @property
    def version(self) -> str:
        """What the job's row names as its version: the image that runs it."""
        return image_of(self._spec.template)

    async def prepare(self, services: Services) -> None:
        """Make sure of the ConfigMap that the pods mount. Raises ApiError."""
        if self._spec.runner and not self._config_map:
            self._config_map = await services.api.ensure_config_map(
                self._queue, RUNNER_FILE, services.runner_script
            )

    def sample(self) -> PodRequest:
        """A pod like every other, for the dry run."""
        return self.request(_SAMPLE, name=f"{self._queue.name[:40].rstrip('-.')}-dry-run")

    def request(self, job: Reservation, *, name: str | None = None) -> PodRequest:
        """What the pod of `job` is built from."""
        spec = self._spec
        credentials = spec.database.credentials
        return PodRequest(
            name=name or job.pod,
            queue=self._queue,
            template=spec.template,
            database=DatabaseAccess(
                host=spec.database.host,
                port=spec.database.port,
                secret_name=credentials.secret_name,
                username_key=credentials.username_key,
                password_key=credentials.password_key,
            ),
            schema=spec.schema_name,
            table=spec.table,
            key=job.key,
            attempt=job.attempt,
            runner=Runner(spec.runner.class_path, self._config_map) if spec.runner else None,
            active_deadline_seconds=spec.active_deadline_seconds,
            memory_factor=spec.retry.memory_factor,
            oom_kills=job.oom_kills,
        )


def image_of(template: Mapping[str, Any]) -> str:
    """The image of the container that does the work; "" where the template has none."""
    main = main_container((template.get("spec") or {}).get("containers") or [])
    return str((main or {}).get("image") or "")
