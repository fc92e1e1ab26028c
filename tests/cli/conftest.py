"""Portals on a real nats-server, for the tests of this folder."""

from tests.support.house import house, opened

__all__ = ["house", "opened"]
