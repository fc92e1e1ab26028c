"""What bodies and answers about rooms and tokens look like on the wire."""

from typing import Annotated, Any, Self

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.room_settings import LIMITS, MAX_LABEL, MAX_NAME, MAX_ROLES, MAX_VIEWS
from roomledger_events.identifiers import check_id
from roomledger_events.rooms import Media, Role, RoomSettings, View
from roomledger_events.tasks import Preference

MAX_USER = 256
"""The longest name of a user, in characters."""
MAX_WORD = 64
"""The longest isp or region, in characters."""


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("half of a surrogate pair is no text") from error
    return text


Text = Annotated[str, AfterValidator(_encodable)]
Id = Annotated[
    str,
    AfterValidator(check_id),
    # The pattern of `check_id` in what every dialect of regular expressions has.
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "examples": ["demo"]}),
]
Name = Annotated[Text, Field(min_length=1, max_length=MAX_NAME, examples=["Lecture"])]
Label = Annotated[Text, Field(min_length=1, max_length=MAX_LABEL, examples=["presenter"])]
Word = Annotated[Text, Field(min_length=1, max_length=MAX_WORD)]


class Shape(BaseModel):
    """What all of them have in common: nothing unknown is taken, and nothing is taken for something else."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)


class MediaShape(Shape):
    """Which media may be sent or received."""

    audio: bool = False
    video: bool = False

    @classmethod
    def of(cls, media: Media) -> Self:
        """Show what events have."""
        return cls(audio=media.audio, video=media.video)

    def plain(self) -> Media:
        """Return it as events have it."""
        return Media(audio=self.audio, video=self.video)


class RoleShape(Shape):
    """A role of a room, with what it may publish and subscribe."""

    role: Label
    publish: MediaShape = MediaShape()
    subscribe: MediaShape = MediaShape()

    def plain(self) -> Role:
        """Return it as events have it."""
        return Role(role=self.role, publish=self.publish.plain(), subscribe=self.subscribe.plain())


class ViewShape(Shape):
    """A composed picture of a room."""

    label: Label


class RoomOptions(Shape):
    """What can be set of a room; what is left out is the default."""

    participant_limit: Annotated[
        int, Field(ge=LIMITS[0], le=LIMITS[-1], description="0 or less means no limit")
    ] = -1
    roles: Annotated[list[RoleShape], Field(max_length=MAX_ROLES)] = []
    views: Annotated[list[ViewShape], Field(max_length=MAX_VIEWS)] = []

    def onto(self, settings: RoomSettings) -> RoomSettings:
        """Return settings with what was given here in place of theirs."""
        given = self.model_fields_set
        changes: dict[str, Any] = {}
        if "participant_limit" in given:
            changes["participant_limit"] = self.participant_limit
        if "roles" in given:
            changes["roles"] = tuple(role.plain() for role in self.roles)
        if "views" in given:
            changes["views"] = tuple(View(label=view.label) for view in self.views)
        return msgspec.structs.replace(settings, **changes)


class NewRoom(Shape):
    """The body of a request for a room."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Lecture", "options": {"participantLimit": 10}}]}
    )

    name: Name
    id: Annotated[Id | None, Field(description="the id that it is to have; by default it is made up")] = None
    options: RoomOptions | None = None

    def settings(self) -> RoomSettings:
        """Return them as events have them."""
        return (self.options or RoomOptions()).onto(RoomSettings(name=self.name))


class RoomChange(RoomOptions):
    """What is to be set of a room: as `RoomOptions`, or as a room is created or shown."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"participantLimit": 20}]})

    id: Annotated[Id, Field(description="the room's own id, if at all")] = ""
    name: Name = ""
    options: RoomOptions | None = None

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if self.options is not None and self.model_fields_set & RoomOptions.model_fields.keys():
            raise ValueError("either options, or what may be in them")
        return self

    def of(self, room: str) -> Self:
        """Return it if it is about a room.

        Raises:
            Refusal: It names another (`INVALID_ARGUMENT`).
        """
        if self.id not in {"", room}:
            raise Refusal(Code.INVALID_ARGUMENT, "id: a room keeps its id")
        return self

    def onto(self, settings: RoomSettings) -> RoomSettings:
        """Return settings with what was given here in place of theirs; what was not given stays."""
        if self.name:
            settings = msgspec.structs.replace(settings, name=self.name)
        return super().onto(settings) if self.options is None else self.options.onto(settings)

    def instead_of(self, settings: RoomSettings) -> RoomSettings:
        """Return the settings that are meant by this alone; the name stays if none was given."""
        return self.onto(RoomSettings(name=settings.name))


class RoomShape(Shape):
    """A room as it is shown."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "5f0d6a9be3c1",
                    "name": "Lecture",
                    "participantLimit": 10,
                    "roles": [
                        {
                            "role": "presenter",
                            "publish": {"audio": True, "video": True},
                            "subscribe": {"audio": True, "video": True},
                        }
                    ],
                    "views": [{"label": "common"}],
                }
            ]
        },
    )

    id: str
    name: str
    participant_limit: int
    roles: list[RoleShape]
    views: list[ViewShape]

    @classmethod
    def of(cls, room: str, settings: RoomSettings) -> Self:
        """Show a room by its settings."""
        roles = [
            RoleShape(
                role=role.role,
                publish=MediaShape.of(role.publish),
                subscribe=MediaShape.of(role.subscribe),
            )
            for role in settings.roles
        ]
        views = [ViewShape(label=view.label) for view in settings.views]
        return cls(
            id=room,
            name=settings.name,
            participant_limit=settings.participant_limit,
            roles=roles,
            views=views,
        )


class PreferenceShape(Shape):
    """Where the user is, so that a portal nearby can be chosen."""

    isp: Word | None = None
    region: Word | None = None

    def plain(self) -> Preference:
        """Return it as events have it."""
        return Preference(isp=self.isp, region=self.region)


class NewToken(Shape):
    """The body of a request for a token."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user": "ada", "role": "presenter", "preference": {"region": "eu"}}]}
    )

    user: Annotated[Text, Field(min_length=1, max_length=MAX_USER)]
    role: Label
    preference: PreferenceShape | None = None


class Paging(Shape):
    """Which part of a list is wanted."""

    # What stands in a query is text.
    model_config = ConfigDict(strict=False, alias_generator=None)

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=1000)] = 100


class ProblemShape(BaseModel):
    """A problem (RFC 9457); callers tell the cases apart by `code`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:roomledger:problem:no_such_room",
                    "title": "No such room",
                    "status": 404,
                    "detail": "there is no room demo",
                    "code": "no_such_room",
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
