"""What bodies and answers about participants look like on the wire."""

from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from roomledger.processes.management_api.shapes import MediaShape, Shape
from roomledger.sdk.rooms import MediaWish, PermissionWish
from roomledger_events.rooms import Permission
from roomledger_projections.projection import Row

MAX_OPERATIONS: Final = 100

Path = Literal[
    "/permission/publish",
    "/permission/publish/audio",
    "/permission/publish/video",
    "/permission/subscribe",
    "/permission/subscribe/audio",
    "/permission/subscribe/video",
]


class PermissionShape(Shape):
    """What a participant may do."""

    publish: MediaShape
    subscribe: MediaShape

    @classmethod
    def of(cls, permission: Permission) -> Self:
        """Show what events have."""
        return cls(publish=MediaShape.of(permission.publish), subscribe=MediaShape.of(permission.subscribe))


class ParticipantShape(Shape):
    """A participant as it is shown."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "0199a3c2-6d1e-7a50-8000-3f1c9b5e2d44",
                    "user": "ada",
                    "role": "presenter",
                    "permission": {
                        "publish": {"audio": True, "video": True},
                        "subscribe": {"audio": True, "video": True},
                    },
                    "joinedAt": "2026-01-31T09:00:00.000000Z",
                    "away": False,
                }
            ]
        },
    )

    id: str
    user: str
    role: str
    permission: PermissionShape
    joined_at: datetime
    away: Annotated[bool, Field(description="whether the connection was lost, and is waited for")]

    @classmethod
    def of(cls, row: Row, permission: Permission | None = None) -> Self:
        """Show a participant as the projection has it; its permission may be known better."""
        shown = (
            PermissionShape.model_validate(row["permission"])
            if permission is None
            else PermissionShape.of(permission)
        )
        return cls(
            id=row["id"],
            user=row["user"],
            role=row["role"],
            permission=shown,
            joined_at=datetime.fromisoformat(row["joined_at"]),
            away=row["away"],
        )


class Operation(Shape):
    """One operation of a JSON Patch (RFC 6902); a permission can only be replaced."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"op": "replace", "path": "/permission/publish/audio", "value": False}]
        }
    )

    op: Literal["replace"]
    path: Path
    value: Annotated[
        bool | MediaShape, Field(description="true or false for a medium; an object for a whole direction")
    ]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.value, bool) != self.path.endswith(("/audio", "/video")):
            raise ValueError("a medium is set to true or false, a direction to an object of media")
        return self


Patch = Annotated[list[Operation], Field(min_length=1, max_length=MAX_OPERATIONS)]


def wish_of(patch: list[Operation]) -> PermissionWish:
    """Return what is to change by all operations of a patch, the later ones on top of the earlier ones."""
    wanted: dict[str, dict[str, bool]] = {"publish": {}, "subscribe": {}}
    for operation in patch:
        direction, _, medium = operation.path.removeprefix("/permission/").partition("/")
        value = operation.value
        wanted[direction] |= {medium: value} if isinstance(value, bool) else value.model_dump()
    return PermissionWish(publish=MediaWish(**wanted["publish"]), subscribe=MediaWish(**wanted["subscribe"]))
