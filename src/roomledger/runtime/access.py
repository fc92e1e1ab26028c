"""The way of a process to the cluster: a connection and the log, by its settings.

Without a url and a password the embedded server's are taken, from the data directory that it runs on.
"""

import os
import ssl
from typing import NamedTuple

from roomledger.event_store.connection import INBOX, Connection, connect
from roomledger.event_store.errors import NotConnected
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.layout import Layout
from roomledger.runtime.data_directory import DataDirectory
from roomledger.runtime.nats_credentials import read_credentials
from roomledger.runtime.nats_server import URL_FILE
from roomledger.settings import Settings
from roomledger_events.subjects import Subjects

AUDIT = "audit"


class Access(NamedTuple):
    """A connection, and the log on it."""

    broker: Connection
    store: JetStreamStore

    async def close(self) -> None:
        """Close the connection; what waits to be sent is sent before."""
        await self.broker.close()


def subjects(settings: Settings) -> Subjects:
    """Return the cluster's subjects."""
    return Subjects(settings.ledger, settings.feed)


def layout(settings: Settings) -> Layout:
    """Return how the cluster's log is kept."""
    return Layout(
        name=settings.log_name,
        subjects=subjects(settings),
        max_bytes=settings.log_max_bytes,
        replicas=settings.log_replicas,
    )


async def open_access(settings: Settings, *, name: str, create: bool = False) -> Access:
    """Connect, and open the log.

    Args:
        settings: Where the server is and as whom to connect.
        name: What the server's list of connections shows.
        create: Whether to create a log that is missing.

    Raises:
        EventStoreError: The server cannot be reached, or its log cannot be used.
        DataDirectoryUnusable: The embedded server's credentials cannot be read.
    """
    directory = DataDirectory(settings.data_dir)
    url = settings.nats_url or (directory.read(URL_FILE) or "").strip()
    if not url:
        reason = (
            f"no roomledger serves on {directory.path} now; start `roomledger serve`, or name a server "
            "by ROOMLEDGER_NATS_URL"
        )
        raise NotConnected("(no url)", reason)
    user = settings.nats_user
    if settings.nats_password is not None:
        password: str | None = settings.nats_password.get_secret_value()
    else:
        password = read_credentials(directory, os.environ).get(user)
    broker = await connect(
        url,
        user if password is not None else None,
        password,
        name=name,
        inbox_prefix=f"{INBOX}_{AUDIT}" if user == AUDIT else INBOX,
        tls=_tls(settings, url),
    )
    try:
        return Access(broker, await JetStreamStore.open(broker, layout(settings), create=create))
    except BaseException:
        await broker.close()
        raise


def _tls(settings: Settings, url: str) -> ssl.SSLContext | None:
    if settings.nats_tls_ca is None and not url.startswith("tls://"):
        return None
    return ssl.create_default_context(cafile=settings.nats_tls_ca)
