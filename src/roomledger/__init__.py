"""A control plane for real-time rooms whose every change is an event in one log."""

__version__: str


def __getattr__(name: str) -> str:
    """Return the version, looked up when somebody asks: that takes longer than most imports."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  - as above

        return version("roomledger")
    raise AttributeError(name)
