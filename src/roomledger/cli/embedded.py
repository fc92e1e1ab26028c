"""The nats-server that commands start for themselves, as the settings say."""

import os

from roomledger.runtime.data_directory import DataDirectory
from roomledger.runtime.nats_conf import Names
from roomledger.runtime.nats_credentials import password_variable
from roomledger.runtime.nats_server import EmbeddedNats
from roomledger.settings import Settings


def embedded_nats(settings: Settings, directory: DataDirectory, *, port: int | None = None) -> EmbeddedNats:
    """Return a nats-server of its own, with the binary and the passwords that are set, wherever they are.

    Args:
        settings: What can be set.
        directory: Where it keeps its files.
        port: Where it listens, 0 for any free port; None for what is set.
    """
    passwords = {
        "service": settings.nats_service_password,
        "audit": settings.nats_audit_password,
        "admin": settings.nats_admin_password,
    }
    environ = dict(os.environ)
    environ |= {
        password_variable(user): password.get_secret_value()
        for user, password in passwords.items()
        if password is not None
    }
    if settings.nats_server is not None:
        environ["ROOMLEDGER_NATS_SERVER"] = str(settings.nats_server)
    names = Names(settings.log_name, settings.ledger, settings.feed)
    where = settings.nats_port if port is None else port
    return EmbeddedNats(directory, where, environ=environ, names=names)
