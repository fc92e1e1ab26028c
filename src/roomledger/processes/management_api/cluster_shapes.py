"""What bodies and answers about workers and tasks look like on the wire: as in the cluster's own services."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field

from roomledger.processes.management_api.shapes import Id, Shape
from roomledger.sdk.cluster import TaskView, WorkerView

MAX_DEADLINE_MS = 86_400_000


class _Shape(Shape):
    model_config = ConfigDict(alias_generator=None)


class WorkerShape(_Shape):
    """A worker as it is shown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "worker": "portal-1",
                    "purpose": "portal",
                    "state": 2,
                    "load": 0.12,
                    "effective_load": 0.135,
                    "info": {"ip": "192.0.2.7", "port": 8080, "max_load": 0.95, "capacity": {}},
                    "running": 41,
                    "reserved": 3,
                    "draining": False,
                    "last_seen": "2026-01-31T09:00:00.000000Z",
                }
            ]
        }
    )

    worker: str
    purpose: str
    state: Annotated[int | None, Field(description="0 not ready, 1 initializing, 2 ready; null is ready")]
    load: Annotated[float | None, Field(description="as it reported last; null before its first report")]
    effective_load: Annotated[
        float | None, Field(description="with the reservations that this report does not contain")
    ]
    info: Annotated[dict[str, Any], Field(description="what the worker told of itself when it joined")]
    running: Annotated[int, Field(description="how many tasks it runs")]
    reserved: Annotated[int, Field(description="how many are reserved for it")]
    draining: Annotated[bool, Field(description="whether it gets no new tasks")]
    last_seen: datetime | None
    tasks: Annotated[list[str] | None, Field(description="what it runs; shown to the super-service")] = None
    reservations: Annotated[list[str] | None, Field(description="shown to the super-service")] = None

    @classmethod
    def of(cls, view: WorkerView, info: dict[str, Any], *, with_tasks: bool) -> Self:
        """Show what the cluster manager tells; ids of tasks are other services' rooms and tokens too."""
        return cls(
            worker=view.worker,
            purpose=view.purpose,
            state=view.state,
            load=view.load,
            effective_load=view.effective_load,
            info=info,
            running=len(view.tasks),
            reserved=len(view.reservations),
            draining=view.draining,
            last_seen=view.last_seen,
            tasks=list(view.tasks) if with_tasks else None,
            reservations=list(view.reservations) if with_tasks else None,
        )


class DrainWish(_Shape):
    """The body of a request to drain a worker."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"deadline_ms": 600_000}]})

    deadline_ms: Annotated[
        int | None,
        Field(ge=0, le=MAX_DEADLINE_MS, description="from now until it is told to move the tasks it has"),
    ] = None


class TaskShape(_Shape):
    """A task as it is shown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"purpose": "conference", "task": "demo", "worker": "conference-1", "state": "running"}
            ]
        }
    )

    purpose: str
    task: str
    worker: str
    state: Literal["reserved", "running"]
    expires_at: Annotated[datetime | None, Field(description="when its reservation runs out")] = None

    @classmethod
    def of(cls, purpose: str, task: str, view: TaskView) -> Self:
        """Show what the cluster manager tells."""
        return cls(
            purpose=purpose, task=task, worker=view.worker, state=view.state, expires_at=view.expires_at
        )


Purpose = Annotated[Id, Field(examples=["conference"])]
