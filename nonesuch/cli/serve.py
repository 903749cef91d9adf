"""`nonesuch serve`: the gallery, the verification page and its API, on this machine by default."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from nonesuch.cli.prove.signing_options import WatermarkKey, chosen_watermark_key
from nonesuch.foundation.errors import InputError


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(serve)


def serve(
    catalog: Annotated[
        Path | None,
        typer.Option(
            "--catalog",
            metavar="DIR",
            help="Serve this catalog's gallery and look images up in it.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Address to listen on; 0.0.0.0 for all addresses of this machine."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")
    ] = 8765,
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust", metavar="FILE", help="A PEM list of trust anchors in place of the C2PA list."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", metavar="NAME", help="Another host name of this server; may be repeated."
        ),
    ] = None,
    who: Annotated[
        str | None,
        typer.Option(
            "--who",
            metavar="NAME",
            help="Name of the user who picks in the gallery; default: your user name.",
        ),
    ] = None,
    watermark_key: WatermarkKey = None,
    per_address: Annotated[
        int,
        typer.Option(
            "--per-address",
            metavar="N",
            min=0,
            help="Concurrent requests from one remote address; 0: no limit, for example behind a reverse proxy.",
        ),
    ] = 64,
) -> None:
    """Serve a catalog's gallery, a verification page and its API. Uploads are never stored."""
    secret = chosen_watermark_key(watermark_key)
    listening = _listen(host, port)

    import uvicorn

    from nonesuch.web.app import create_app
    from nonesuch.web.connection_limits import guarded
    from nonesuch.web.upload_limits import ConnectionLimits

    address = listening.getsockname()
    loopback = address[0] in ("127.0.0.1", "::1") or address[0].startswith("127.")
    names = [host, *(allow_host or [])] if loopback else [host, socket.gethostname(), *(allow_host or [])]
    app = create_app(catalog, trust=trust, names=names, addresses=not loopback, who=who, watermark_key=secret)
    limits = ConnectionLimits(per_address=per_address)
    config = uvicorn.Config(
        app,
        http=guarded(limits),
        timeout_keep_alive=int(limits.idle_seconds),
        ws="none",
        loop="asyncio",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    shown = f"[{address[0]}]" if ":" in address[0] else address[0]
    typer.echo(f"nonesuch: http://{shown}:{address[1]}/ (Ctrl-C stops it)", err=True)
    if not loopback:
        typer.echo("nonesuch: anyone who can reach this address can use it; there is no login", err=True)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        typer.echo("nonesuch: stopped", err=True)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises InputError for an unknown host or a taken port."""
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # a client that connects before the workers have loaded waits instead of being refused
        listening.listen(128)
    except OSError as error:
        hint = "Choose another --port, or 0 for any free one."
        raise InputError(error.strerror or str(error), where=where, hint=hint) from error
    return listening
