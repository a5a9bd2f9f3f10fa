"""The process of the demo's S3 server: `python s3_process.py PORT PARENT_PID`. Run by `s3_server.py`.

Prints one line of JSON: `{"port": number}`, `{"missing": package}` or `{"error": text}`. Ends when its
standard input closes or its parent is another process than the one named: nobody is left to stop it then.
"""

import json
import os
import select
import signal
import sys

HOST = "127.0.0.1"


def main() -> int:
    # Ctrl-C reaches every process of the terminal; the parent decides when the server may go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    port, parent = int(sys.argv[1]), int(sys.argv[2])
    try:
        bound = _serve(port)
    except ModuleNotFoundError as error:
        return _fail("missing", (error.name or "moto").split(".")[0])
    except OSError as error:
        return _fail("error", str(error))
    print(json.dumps({"port": bound}), flush=True)
    while os.getppid() == parent:
        ready, _, _ = select.select([sys.stdin], [], [], 1.0)
        if ready and not sys.stdin.read(1):
            break
    return 0


def _fail(kind: str, what: str) -> int:
    print(json.dumps({kind: what}), flush=True)
    return 1


def _serve(port: int) -> int:
    """Start the server in a daemon thread; the port it got."""
    import logging
    import socket
    from threading import Thread

    # Listening first: who is told the port can connect, and a port that is taken is an OSError at once, where
    # werkzeug would print advice and exit.
    listening = socket.create_server((HOST, port), backlog=128)

    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(
        HOST,
        port,
        DomainDispatcherApplication(create_backend_app),
        threaded=True,
        request_handler=MotoRequestHandler,
        fd=listening.detach(),
    )
    Thread(target=server.serve_forever, daemon=True).start()
    return server.socket.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
