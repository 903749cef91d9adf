"""The metrics of a run for Prometheus and OpenTelemetry: only on request, Prometheus on loopback.

nonesuch.flows.reporting.metrics.DESCRIBED describes the metrics; device metrics are added here when there is a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from nonesuch.flows.reporting import metrics
from nonesuch.foundation.errors import DependencyError, InputError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PUSH_EVERY = 5.0  # seconds between two pushes over OTLP
_DEVICE = {
    "nonesuch_device_memory_bytes": "device memory in use by all processes",
    "nonesuch_device_memory_total_bytes": "total device memory",
    "nonesuch_device_busy_ratio": "share of the last sample period in which the device was busy, 0 to 1",
}


@contextmanager
def monitored(*, port: int | None = None, otlp: str | None = None) -> Iterator[int | None]:
    """Serve the metrics during the block; yields the port.

    port  a port on 127.0.0.1 that answers Prometheus at /metrics, 0 for any free one; None: none
    otlp  an OpenTelemetry collector's OTLP/HTTP address such as http://127.0.0.1:4318; None: none

    Raises InputError for a port that is taken, DependencyError when `otlp` needs a package that is missing.
    """
    with ExitStack() as stack:
        listening = None if port is None else stack.enter_context(_prometheus(port))
        if otlp is not None:
            stack.enter_context(_opentelemetry(otlp))
        yield listening


class FigureCollector:
    """A prometheus_client collector over nonesuch.flows.reporting.metrics."""

    def collect(self) -> Iterable[Metric]:
        """Every metric with its current value."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families: dict[str, Any] = {}
        for sample in metrics.samples():
            kind, label, text = metrics.DESCRIBED[sample.name]
            if sample.name not in families:
                family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
                families[sample.name] = family(sample.name, text, labels=[label])
            families[sample.name].add_metric([sample.label], sample.value)
        yield from families.values()
        for name, text in _DEVICE.items():
            readings = [(device, value) for key, device, value in _devices() if key == name]
            if readings:
                gauge = GaugeMetricFamily(name, text, labels=["device"])
                for device, value in readings:
                    gauge.add_metric([device], value)
                yield gauge


@contextmanager
def _prometheus(port: int) -> Iterator[int]:
    from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

    registry = CollectorRegistry()
    registry.register(FigureCollector())
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"can't be opened ({error})",
            where=f"127.0.0.1:{port}",
            hint="Choose another --metrics-port, or 0.",
        ) from error
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _opentelemetry(address: str) -> Iterator[None]:
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.metrics import CallbackOptions, Observation
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
    except ImportError as error:
        raise DependencyError(
            f"OpenTelemetry needs a package that is missing ({error.name})",
            where="--otlp",
            hint="pip install 'nonesuch[telemetry]'",
        ) from error

    if not address.startswith(("http://", "https://")):
        raise InputError(
            "is not a collector's address",
            where=address,
            hint="Use an address such as http://127.0.0.1:4318.",
        )
    exporter = OTLPMetricExporter(endpoint=f"{address.rstrip('/')}/v1/metrics", timeout=PUSH_EVERY)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=PUSH_EVERY * 1000)
    provider = MeterProvider([reader], resource=Resource.create({"service.name": "nonesuch"}))
    meter = provider.get_meter("nonesuch")

    def observed(name: str, label: str) -> Any:
        def read(options: CallbackOptions) -> list[Observation]:
            return [Observation(s.value, {label: s.label}) for s in metrics.samples() if s.name == name]

        return read

    def device(name: str) -> Any:
        def read(options: CallbackOptions) -> list[Observation]:
            return [Observation(value, {"device": at}) for key, at, value in _devices() if key == name]

        return read

    for name, (kind, label, text) in metrics.DESCRIBED.items():
        make = meter.create_observable_counter if kind == "counter" else meter.create_observable_gauge
        make(name, callbacks=[observed(name, label)], description=text)
    for name, text in _DEVICE.items():
        meter.create_observable_gauge(name, callbacks=[device(name)], description=text)
    try:
        yield
    finally:
        provider.shutdown()  # pushes one last time


def _devices() -> list[tuple[str, str, float]]:
    """(metric, device, value) of each GPU that torch has loaded; none where torch is not loaded or there is no GPU."""
    import sys

    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return []
    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        name = f"cuda:{number}"
        found.append(("nonesuch_device_memory_bytes", name, float(total - free)))
        found.append(("nonesuch_device_memory_total_bytes", name, float(total)))
        try:
            busy = torch.cuda.utilization(number) / 100
        except Exception:  # needs NVIDIA's management library, which not every machine has
            continue
        found.append(("nonesuch_device_busy_ratio", name, busy))
    return found
