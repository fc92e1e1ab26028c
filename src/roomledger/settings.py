"""Settings: from flags, the environment (``ROOMLEDGER_*``) and ``roomledger.toml``, in this order.

A key that does not exist is an error in each of them.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX = "ROOMLEDGER_"
DEFAULT_FILE = "roomledger.toml"
Port = Annotated[int, Field(ge=0, le=65535)]
RATE = r"^[1-9][0-9]{0,8}/([1-9][0-9]{0,5})?(second|minute|hour|day)s?$"
"""A number of requests and a time, such as ``100/second`` or ``5000/10seconds``."""
Prefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class PurposeSettings(BaseModel):
    """How tasks of one purpose are scheduled; what is not given is the purpose's default.

    Attributes:
        strategy: Which of the candidates gets a task.
        task_load: What a reservation adds to a worker's load until a report contains it.
        reserve_ms: How long a reservation lasts that names no time.
        lease_ms: A worker that is not heard of for so long is lost.
        load_change: A report that changes the effective load by so much is recorded.
        report_delay_ms: How long before a report its load may have been measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: str | None = None
    task_load: Annotated[float, Field(ge=0, le=1)] | None = None
    reserve_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None = None
    lease_ms: Annotated[int, Field(ge=100, le=3_600_000)] | None = None
    load_change: Annotated[float, Field(ge=0, le=1)] | None = None
    report_delay_ms: Annotated[int, Field(ge=0, le=600_000)] | None = None


class Settings(BaseSettings):
    """Everything that can be set. Ports may be 0 for any free one.

    Attributes:
        cluster: The cluster's name; in capitals it is the log's.
        ledger: The first word of the subjects that are appended to.
        feed: The first word of the subjects that stored commits are republished on.
        data_dir: Where this process keeps its files.
        host: The address that the HTTP and WebSocket listeners bind.
        advertise: The host that clients are told to connect to; the bound one where it is not given.
        nats_url: A server or cluster that is there already; without it `serve` starts one of its own.
        nats_user: As whom to connect.
        nats_password: That user's password.
        nats_tls_ca: A file with the certificates to trust, for ``tls://`` urls.
        nats_server: The nats-server binary for the embedded server.
        nats_port: The embedded server's port.
        nats_service_password: Of the embedded server's user ``service``; made up where it is not given.
        nats_audit_password: Of its user ``audit``.
        nats_admin_password: Of its user ``admin``.
        log_max_bytes: How large the log may grow.
        log_replicas: How many servers keep the log: 1 or 3.
        api_port: Of the management API.
        portal_port: Of the portal's native WebSocket listener.
        portal_connections: How many clients a portal takes; its load is the share of these that it has.
        socketio: Whether the portal listens for existing clients; then tokens point to that listener.
        socketio_port: Of the portal's listener for existing clients.
        service_id: The first service's id; made up where it is not given.
        service_key: The first service's key; made up where it is not given.
        super_service: The service that may manage services; the first one where it is not given.
        rate_limit: How many requests a service may make at one management API.
        state_max_commits: How many commits are read at most to answer for a moment over HTTP.
        token_life_ms: How long a token can be used.
        token_retry_ms: How long a token request waits for a portal to have room.
        login_timeout_ms: A connection that has not logged in by then is closed.
        reconnection_timeout_ms: How long a session waits for a client that lost its connection.
        ticket_life_ms: How long a ticket to come back with is good.
        client_rate: How many messages a client may send in a second; twice as many at once.
        portal_tls_cert: A file with the portal's certificate and what leads up to it, for ``wss://``.
        portal_tls_key: A file with its private key.
        portal_origins: The origins whose pages may connect; any where none is given.
        max_message_bytes: The largest WebSocket message and HTTP body that is accepted.
        worker_id: The id of the worker that this process is; made up where it is not given.
        manager_id: The id of the cluster manager that this process is; made up where it is not given.
        node_processes: Whether a conference worker's nodes are processes of their own; where it is not given
            they are, unless everything runs in one process.
        prerun: How many nodes are to be there before they are needed.
        max_nodes: How many nodes there may be; where it is not given, as many as there are cores.
        reuse: Whether a node may run more than one room when there are as many nodes as there may be.
        node_ready_ms: How long a room waits for a node that is on its way.
        node_silence_ms: A node that is not heard of for so long is killed and replaced.
        room_release_ms: How long an empty room keeps its controller.
        unreadable_events: What projections do with events that this version cannot read: ``hold`` puts them
            aside in a table, ``skip`` only counts and reports them.
        snapshots: Whether cluster managers start from the last snapshot; otherwise they read the whole log.
        scheduler: Settings by purpose; ``default`` is for those not named.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    config: Path = Path(DEFAULT_FILE)
    cluster: Prefix = "roomledger"
    ledger: Prefix = "ledger"
    feed: Prefix = "feed"
    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    advertise: str | None = None
    nats_url: str | None = None
    nats_user: str = "service"
    nats_password: SecretStr | None = None
    nats_tls_ca: Path | None = None
    nats_server: Path | None = None
    nats_port: Port = 4222
    nats_service_password: SecretStr | None = None
    nats_audit_password: SecretStr | None = None
    nats_admin_password: SecretStr | None = None
    log_max_bytes: Annotated[int, Field(ge=1024 * 1024)] = 10 * 1024**3
    log_replicas: Annotated[int, Field(ge=1, le=5)] = 1
    api_port: Port = 3000
    portal_port: Port = 8080
    portal_connections: Annotated[int, Field(ge=1)] = 10_000
    socketio: bool = True
    socketio_port: Port = 8081
    service_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    service_key: SecretStr | None = None
    super_service: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    rate_limit: Annotated[str, Field(pattern=RATE)] = "5000/second"
    state_max_commits: Annotated[int, Field(ge=1)] = 1_000_000
    token_life_ms: Annotated[int, Field(ge=1000, le=86_400_000)] = 180_000
    token_retry_ms: Annotated[int, Field(ge=0, le=60_000)] = 3_000
    login_timeout_ms: Annotated[int, Field(ge=100)] = 180_000
    reconnection_timeout_ms: Annotated[int, Field(ge=1, le=86_400_000)] = 60_000
    ticket_life_ms: Annotated[int, Field(ge=1000, le=86_400_000)] = 600_000
    client_rate: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    portal_tls_cert: Path | None = None
    portal_tls_key: Path | None = None
    portal_origins: tuple[str, ...] = ()
    max_message_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024
    worker_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    manager_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    node_processes: bool | None = None
    prerun: Annotated[int, Field(ge=0, le=1000)] = 1
    max_nodes: Annotated[int, Field(ge=1, le=1000)] | None = None
    reuse: bool = True
    node_ready_ms: Annotated[int, Field(ge=1, le=60_000)] = 1_500
    node_silence_ms: Annotated[int, Field(ge=1000, le=600_000)] = 3_000
    room_release_ms: Annotated[int, Field(ge=1, le=86_400_000)] = 30_000
    unreadable_events: Literal["hold", "skip"] = "hold"
    snapshots: bool = True
    scheduler: Mapping[str, PurposeSettings] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Say where settings come from, the strongest first."""
        del dotenv_settings, file_secret_settings
        file = os.environ.get(f"{PREFIX}CONFIG", DEFAULT_FILE)
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

    @property
    def log_name(self) -> str:
        """The name of the log's stream."""
        return self.cluster.upper().replace("-", "_")


class UnknownSetting(ValueError):
    """An environment variable that begins with ``ROOMLEDGER_`` and is no setting.

    Attributes:
        names: The variables.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(names)

    def __str__(self) -> str:
        return f"no such setting: {', '.join(self.names)}"


class UnreadableSettings(ValueError):
    """A settings file that is no TOML.

    Attributes:
        file: Which one.
        reason: What is wrong with it.
    """

    def __init__(self, file: str, reason: str) -> None:
        self.file = file
        self.reason = reason
        super().__init__(file, reason)

    def __str__(self) -> str:
        return f"{self.file} is no TOML: {self.reason}"


def load(**flags: object) -> Settings:
    """Read the settings; a flag that is None counts as not given.

    Raises:
        UnknownSetting: The environment has a ``ROOMLEDGER_*`` variable that is no setting.
        pydantic.ValidationError: A value is wrong, or the file has a key that is no setting.
        UnreadableSettings: The file is no TOML.
        FileNotFoundError: The file named by ``ROOMLEDGER_CONFIG`` is not there.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    unknown = [
        name
        for name in sorted(os.environ)
        if name.startswith(PREFIX) and name not in known and not name.startswith(f"{PREFIX}SCHEDULER__")
    ]
    if unknown:
        raise UnknownSetting(unknown)
    named = os.environ.get(f"{PREFIX}CONFIG")
    if named is not None and not Path(named).is_file():
        raise FileNotFoundError(named)
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks the values
    except tomllib.TOMLDecodeError as error:
        raise UnreadableSettings(named or DEFAULT_FILE, str(error)) from error
