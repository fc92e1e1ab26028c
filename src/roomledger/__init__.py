"""A control plane for real-time rooms whose every change is an event in one log."""

from importlib.metadata import version

__version__ = version("roomledger")
