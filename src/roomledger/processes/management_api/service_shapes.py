"""What bodies and answers about services look like on the wire."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import ConfigDict, Field

from roomledger.processes.management_api.services import Service
from roomledger.processes.management_api.shapes import Id, Name, Shape

MIN_KEY = 16
MAX_KEY = 256


class NewService(Shape):
    """The body of a request for a service."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "School of music"}]})

    name: Name | None = None
    id: Annotated[Id | None, Field(description="the id that it is to have; by default it is made up")] = None
    key: Annotated[
        str | None,
        Field(
            pattern=f"^[!-~]{{{MIN_KEY},{MAX_KEY}}}$",
            description="the key that it is to have; by default it is made up",
        ),
    ] = None


class ServiceShape(Shape):
    """A service as it is shown; its key is not."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "service-1f9a02c4",
                    "name": "School of music",
                    "created": "2026-01-31T09:00:00.000000Z",
                    "super": False,
                }
            ]
        },
    )

    id: str
    name: str | None
    created: datetime
    # A word of Python's own.
    is_super: Annotated[bool, Field(alias="super", description="whether it may manage services")]

    @classmethod
    def of(cls, service: Service, *, is_super: bool) -> Self:
        """Show a service."""
        return cls(id=service.id, name=service.name, created=service.created, is_super=is_super)


class CreatedService(Shape):
    """A service that was created just now, with its key, which is shown this once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "service-1f9a02c4",
                    "name": "School of music",
                    "created": "2026-01-31T09:00:00.000000Z",
                    "key": "an-example-of-43-characters-made-up-at-rando",
                }
            ]
        }
    )

    id: str
    name: str | None
    created: datetime
    key: str
