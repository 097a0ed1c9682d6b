"""What the watch of pods says of itself when its namespaces fare differently."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from populate_operator.pods.errors import Refused
from populate_operator.pods.session import ApiSession
from populate_operator.pods.watch import PodWatch


@dataclass
class Divided:
    """An API server that refuses some namespaces and never answers for the others."""

    refused: set[str]
    asked: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def request(self, _method: str, path: str, **_: Any) -> Any:
        namespace = path.split("/")[4]
        self.asked.put_nowait(namespace)
        if namespace in self.refused:
            raise Refused("forbidden", reason="Forbidden", status=403)
        await asyncio.Event().wait()


@pytest.mark.parametrize(("refused", "is_silent"), [({"lab-b"}, True), ({"lab-a", "lab-b"}, False)])
async def test_trouble_in_one_namespace_does_not_hide_silence_in_another(
    refused: set[str], is_silent: bool
) -> None:
    session = Divided(refused)
    watch = PodWatch(cast(ApiSession, session), lambda _: None, namespaces=["lab-a", "lab-b"])
    task = asyncio.create_task(watch.run())
    assert {await session.asked.get(), await session.asked.get()} == {"lab-a", "lab-b"}
    assert isinstance(watch.trouble, Refused)
    assert (watch.silence > 0) is is_silent
    task.cancel()
    await asyncio.wait({task})
