"""Portals and commands on a real nats-server, for the tests of this folder."""

from tests.support.commands import command
from tests.support.house import house, opened

__all__ = ["command", "house", "opened"]
