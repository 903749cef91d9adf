"""Prefect flows, thin: plan a sweep, run its shards, collect what came out.

Importing this package turns usage reporting of Prefect, of Ray and of the model hub's client off unless the
environment turns it on; it must happen before any of them is imported. It also sees to it that
the Prefect server of a run ends with it, and that a flow run which Prefect starts for a schedule does.
"""

import os

from nonesuch.flows.servers import embedded_server
from nonesuch.foundation import children

for _name, _value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}.items():
    os.environ.setdefault(_name, _value)

children.end_with_parent()
embedded_server.prepare()
