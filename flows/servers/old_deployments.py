"""Deployments made before every room was imported as nonesuch.<room>: their entrypoints are no longer there."""

from __future__ import annotations

from dataclasses import dataclass

from nonesuch.flows.servers.local_server import server_at_hand

_OLD = {
    "flows.sweep.sweep", "flows.rescore.rescore", "flows.verify_folder.verify_folder",
    "flows.upkeep.compaction", "flows.upkeep.retention",
}  # fmt: skip
_PAGE = 200  # deployments that a server gives at once


@dataclass(frozen=True, slots=True)
class OldDeployment:
    """A deployment whose runs fail with "No module named 'flows'"."""

    name: str  # FLOW/DEPLOYMENT, as Prefect's commands take it
    entrypoint: str  # where its workers look for the flow
    tags: tuple[str, ...]


def old_deployments() -> list[OldDeployment]:
    """Those of the server that is named or runs here, by name; none where no server answers."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    names = {entrypoint: entrypoint.rpartition(".")[2] for entrypoint in _OLD}  # of the flows
    ours = FlowFilter(name=FlowFilterName(any_=sorted(names.values())))
    found: list[OldDeployment] = []
    with server_at_hand() as url:
        if url is None:
            return []
        try:
            with get_client(sync_client=True) as client:
                offset = 0
                while page := client.read_deployments(flow_filter=ours, limit=_PAGE, offset=offset):
                    offset += len(page)
                    found += [
                        OldDeployment(f"{names[one.entrypoint]}/{one.name}", one.entrypoint, tuple(one.tags))
                        for one in page
                        if one.entrypoint in names
                    ]
        except Exception:  # a list of schedules needs no server
            return []
    return sorted(found, key=lambda one: one.name)
