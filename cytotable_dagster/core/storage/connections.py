"""Connections of clients that speak by `requests`: as many are kept as there are requests at once.

`requests` keeps ten; each request beyond them would make one of its own, with its handshake.
"""

from typing import TYPE_CHECKING

from cytotable_dagster.core.storage.objects import REQUESTS_AT_ONCE

if TYPE_CHECKING:
    from requests import Session


def keep_connections(session: "Session") -> None:
    """Let a session keep that many to each host; one that connects in a way of its own (certificates of a client, say)
    is left as it is."""
    from requests.adapters import HTTPAdapter

    for scheme, adapter in list(session.adapters.items()):
        if type(adapter) is HTTPAdapter:
            session.mount(scheme, HTTPAdapter(pool_maxsize=REQUESTS_AT_ONCE))
