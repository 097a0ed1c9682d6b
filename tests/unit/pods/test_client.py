"""Creations that are held up in one namespace leave room for all other calls.

The API server here answers when it is let; the real one is in tests/integration/pods.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from populate_operator.pods.client import PodApi
from populate_operator.pods.session import ApiSession, JsonObject


class SlowWebhook:
    """Creations in the namespace `slow` get no answer."""

    async def request(self, method: str, path: str, **_: Any) -> JsonObject:
        if method == "POST" and "/slow/" in path:
            await asyncio.Event().wait()
        return {"metadata": {"name": path.rpartition("/")[2]}}


def pod(namespace: str) -> JsonObject:
    return {"metadata": {"namespace": namespace}}


async def test_a_slow_webhook_of_one_namespace_holds_up_no_other() -> None:
    api = PodApi(cast(ApiSession, SlowWebhook()), concurrency=4)
    creations = [asyncio.ensure_future(api.create(pod("slow"))) for _ in range(10)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        found = await api.get("slow", "pod-a")
        assert found
        assert found.name == "pod-a"
        await api.create(pod("lab"))
    for one in creations:
        one.cancel()
