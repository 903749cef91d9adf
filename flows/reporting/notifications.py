"""Notifications when runs end: a Prefect automation that sends through a block of the user's.

The server sends, so nothing has to run here; it must be one with automations (a started server, or Prefect
Cloud), not the one that is embedded in a single run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nonesuch.foundation.errors import InputError

ENDS: Final = {
    "completed": "Completed",
    "failed": "Failed",
    "crashed": "Crashed",
    "timedout": "TimedOut",
    "cancelled": "Cancelled",
}
FLOWS: Final = ("sweep", "rescore", "verify_folder", "compaction", "retention")
_SUBJECT = "nonesuch: {{ flow.name }} {{ flow_run.state.name }}"
_BODY = "{{ flow.name }} {{ flow_run.name }}: {{ flow_run.state.name }}. {{ flow_run.state.message }}"
# tojson puts the quotes, and escapes what a state's message holds
_PAYLOAD = (
    '{"subject": {{ ("nonesuch: " ~ flow.name ~ " " ~ flow_run.state.name) | tojson }}, "body": '
    '{{ (flow.name ~ " " ~ flow_run.name ~ ": " ~ flow_run.state.name ~ ". " ~ (flow_run.state.message or "")) | tojson }}}'
)


def notify(block: str, ends: Sequence[str]) -> str:
    """Make (or make anew) the automation that tells `block` of runs that end so; returns the automation's name.

    block  "TYPE/NAME" of a notification block, such as slack-webhook/alerts, or of a webhook block
    ends   keys of ENDS

    Raises InputError for an unknown block and for one that can't send.
    """
    from prefect.client.orchestration import get_client
    from prefect.events.actions import CallWebhook, SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification
    from prefect.exceptions import ObjectNotFound

    kind, _, name = block.partition("/")
    if unknown := [end for end in ends if end not in ENDS]:
        raise InputError(f"a run can't end as {unknown[0]!r}", where="on", hint=f"Known: {', '.join(ENDS)}.")
    if not name:
        raise InputError(
            "names no block", where=block, hint="Write TYPE/NAME, for example slack-webhook/alerts."
        )
    with get_client(sync_client=True) as client:
        try:
            found = client.read_block_document_by_name(name, kind)
        except ObjectNotFound as error:
            raise InputError(
                "there is no such block on the Prefect server",
                where=block,
                hint="Make it in Prefect's UI under Blocks, or in Python; `prefect block ls` lists what there is.",
            ) from error
        can = found.block_schema.capabilities if found.block_schema is not None else []
        if "notify" in can:
            action: SendNotification | CallWebhook = SendNotification(
                block_document_id=found.id, subject=_SUBJECT, body=_BODY
            )
        elif kind == "webhook":
            action = CallWebhook(block_document_id=found.id, payload=_PAYLOAD)
        else:
            raise InputError(
                "this block can't send", where=block, hint="Use a notification block or a webhook block."
            )
        automation = AutomationCore(
            name=f"nonesuch to {block}",
            description="Made by `nonesuch schedule notify`.",
            trigger=EventTrigger(
                expect={f"prefect.flow-run.{ENDS[end]}" for end in ends},
                match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
                match_related=ResourceSpecification(
                    {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)}
                ),
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[action],
        )
        for older in client.read_automations_by_name(automation.name):
            client.delete_automation(older.id)
        client.create_automation(automation)
    return automation.name
