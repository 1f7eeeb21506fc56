"""Run in a process of its own: a run on a Ray of its own, and then all that this Ray's control service tells.

    python canary_on_ray.py BASE_URL RUN_FOLDER DUMP_FILE

Printed: the session's folder.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import ray

sys.path.insert(0, str(Path(__file__).parents[1]))

from populace.cluster.coordinator import Coordinator
from populace.cluster.ray import RayTransport
from populace.core.errors import ModelError
from populace.data.societies import find_society
from support.asking import ASKERS
from support.running import settings_of


def main(base_url: str, out: str, dump: str) -> None:
    ray.init(address="local", include_dashboard=False, log_to_driver=True, configure_logging=False, num_cpus=2)
    model = {"kind": "openai", "name": "decoy-model"}
    endpoint = {"base_url": base_url, "api_key_env": "CANARY_KEY", "retries": 0}
    settings = settings_of(
        transport="ray", shards=2, agents=60, ticks=2, limits__failed_turns=1.0, model=model,
        endpoint=endpoint,
        budget__tokens=10**6,
    )  # fmt: skip
    try:
        asyncio.run(Coordinator(find_society(ASKERS), settings, RayTransport(), Path(out)).run())
    except ModelError as error:
        print(error, file=sys.stderr)
    Path(dump).write_bytes(told())
    print(ray._private.worker.global_worker.node.get_session_dir_path())
    ray.shutdown()


def told() -> bytes:
    """What the control service has: its key-value store, jobs, actors and nodes."""
    gcs = ray._private.worker.global_worker.gcs_client
    said = [repr(ray._private.state.actors()), repr(ray.nodes()), repr(gcs.get_all_job_info())]
    parts = [text.encode() for text in said]
    for namespace in (None, b"fun", b"job", b"session", b"cluster", b"dashboard", b"healthcheck", b"tracing"):
        for key in gcs.internal_kv_keys(b"", namespace):
            parts += [key, gcs.internal_kv_get(key, namespace) or b""]
    return b"\n".join(parts)


if __name__ == "__main__":
    main(*sys.argv[1:])
