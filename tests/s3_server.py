"""A real S3 API server on loopback, and an environment in which fsspec finds it, child processes too."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import fsspec
from moto.server import ThreadedMotoServer


@contextmanager
def s3_server(bucket: str) -> Iterator[tuple[str, ThreadedMotoServer]]:
    """The URL of an empty bucket, and its server; stopped and started again, it has what it had."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    before, configured = dict(os.environ), deepcopy(fsspec.config.conf)
    os.environ |= {
        "FSSPEC_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    fsspec.config.set_conf_env(fsspec.config.conf)
    try:
        fsspec.filesystem("s3").mkdir(bucket)
        yield f"s3://{bucket}", server
    finally:
        os.environ.clear()
        os.environ.update(before)
        fsspec.config.conf.clear()
        fsspec.config.conf.update(configured)
        server.stop()
