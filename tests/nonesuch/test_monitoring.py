"""A run's figures over Prometheus and OTLP, and its JSON log: real processes, a real collector's protocol on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nonesuch.flows.reporting import metrics
from nonesuch.flows.reporting.progress import Tally
from nonesuch.foundation.errors import InputError
from nonesuch.running.monitoring import monitored
from tests.command_line import nonesuch

SWEEP = """\
name: told
model: noise
prompt: "x"
seeds: {count: 6}
settings: {width: 64, height: 64, steps: 1}
scoring: {scorers: [technical]}
"""


def scraped(port: int) -> dict[tuple[str, str], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_the_figures_while_a_run_goes_on() -> None:
    run = metrics.RunMetrics("scraped")
    with monitored(port=0) as port:
        assert port
        run.planned(3, 0)
        metrics.queue("scrape", 2, capacity=4)
        before = scraped(port)
        run.advanced(Tally(3, 1, 0, 0))
        run.advanced(Tally(3, 1, 1, 0))
        after = scraped(port)
    assert before["nonesuch_images_left", "scraped"] == 3
    assert after["nonesuch_images_left", "scraped"] == 1
    grown = {
        s: after["nonesuch_images_total", s] - before.get(("nonesuch_images_total", s), 0.0)
        for s in ("ok", "failed")
    }
    assert grown == {"ok": 1, "failed": 1}
    assert (after["nonesuch_queue_depth", "scrape"], after["nonesuch_queue_capacity", "scrape"]) == (2, 4)
    assert ("process_cpu_seconds_total", "") in after
    with pytest.raises(OSError, match=r"."):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


def test_only_this_machine_is_listened_to_and_a_taken_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="can't be opened"), monitored(port=taken.getsockname()[1]):
            pass


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Takes OTLP/HTTP as a collector does, and keeps the bodies."""
    received: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/metrics"
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_a_collector_gets_the_figures_over_otlp(collector: tuple[str, list[bytes]]) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    address, received = collector
    with monitored(otlp=address):
        metrics.worked("pushed", 1.5, 3)
    told = ExportMetricsServiceRequest.FromString(received[-1])
    points = {
        (metric.name, point.attributes[0].value.string_value): point.as_double
        for resource in told.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in (metric.sum.data_points or metric.gauge.data_points)
    }
    assert points["nonesuch_stage_images", "pushed"] == 3
    assert points["nonesuch_stage_seconds", "pushed"] == 1.5


def test_an_address_that_is_none_is_refused() -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    with pytest.raises(InputError, match="collector"), monitored(otlp="collector:4318"):
        pass


@pytest.mark.slow
def test_every_line_of_the_json_log_is_json(tmp_path: Path, prefect_server: str) -> None:
    (tmp_path / "s.yaml").write_text(SWEEP)
    command = [
        sys.executable,
        "-m",
        "nonesuch",
        "run",
        "s.yaml",
        "--out",
        "out",
        "--log-json",
        "--metrics-port",
        "0",
    ]
    environment = {**os.environ, "PREFECT_API_URL": prefect_server}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    events = {line["event"]: line for line in map(json.loads, done.stderr.splitlines())}
    assert events["started"]["metrics_port"] > 0
    assert events["planned"]["images"] == 6
    assert (events["progress"]["done"], events["progress"]["total"]) == (6, 6)
    assert events["ended"]["done"] == 6
    (tmp_path / "s.yaml").write_text(SWEEP + "sede: 1\n")
    failed = nonesuch("run", tmp_path / "s.yaml", "--out", tmp_path / "out", "--log-json")
    assert failed.returncode == 2
    last = json.loads(failed.stderr.splitlines()[-1])
    assert last["event"] == "error"
    assert "s.yaml" in last["where"]
