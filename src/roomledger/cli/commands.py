"""The commands by name, each imported when it is run: to say what there is needs none of them."""

from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Later(NamedTuple):
    """A command that is not imported yet.

    Attributes:
        place: The module below `roomledger.cli`, and the name of the command or the group in it.
        help: What it is for: the first paragraph of its own help.
        hidden: Whether people need not know of it.
    """

    place: str
    help: str
    hidden: bool = False


LATER: Final = {
    "token": Later(
        "token:token", "Ask for a token, and print it: `roomledger token --user ada | roomledger join -`."
    ),
    "join": Later(
        "join:join", "Join a room and stay until Ctrl-C: `roomledger token --user ada | roomledger join -`."
    ),
    "room": Later("room:room", "Create, show and delete rooms."),
    "rooms": Later("rooms:rooms", "List the service's rooms, oldest first."),
    "participants": Later("participants:participants", "List who is in a room, in the order of joining."),
    "kick": Later("kick:kick", "Remove a participant from a room."),
    "workers": Later("workers:workers", "Show the workers as the cluster manager knows them."),
    "tasks": Later("tasks:tasks", "Show the tasks that workers run, and those that are held for them."),
    "drain": Later(
        "drain:drain",
        "Give a worker no new tasks; those that it has go on. A watch ends when none is left.",
    ),
    "undrain": Later("drain:undrain", "Give a draining worker new tasks again."),
    "schedule": Later(
        "schedule:schedule",
        "Have a worker reserved for a task, or learn which one has it. A watch ends when none has it.",
    ),
    "replay": Later(
        "replay:replay",
        "Show the cluster as it is, or as it was at any moment, from the log alone; or play what happened.",
    ),
    "explain": Later("explain:explain", "Say why a decision fell."),
    "audit": Later("audit:audit", "Show all that concerns one thing, in order, with who caused what."),
    "verify": Later(
        "verify:verify",
        "Rebuild everything from the log and compare it with what is live; check what has to hold in "
        "the log.",
    ),
    "simulate": Later(
        "simulate:simulate",
        "Decide the recorded requests again with other settings, and compare with what happened.",
    ),
    "log": Later("log:log", "Look into the log."),
    "export": Later(
        "export:export",
        "Copy the log, or a part of it, to a file: `--log FILE` reads it, on any machine, without a server.",
    ),
    "import": Later(
        "import_log:import_log",
        "Bring an exported log into a new, empty one; every commit keeps its sequence.",
    ),
    "projections": Later("projections:projections", "Look after what is known from the log."),
    "token-key": Later("token_key:token_key", "See and replace the key that tokens are signed with."),
    "nats-context": Later(
        "nats_context:nats_context",
        "Write a context file, so that the nats tool works with this cluster at once.",
    ),
    "node": Later(
        "node:node", "Run one node; a conference worker starts it and tells it what to be.", hidden=True
    ),
}
"""Name → where it is."""


class Commands(TyperGroup):
    """A group with those commands; each is imported when it is run or asked for its help.

    The context's object, where there is one, is called before that.
    """

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401  - whatever Typer gives its groups
        super().__init__(**attributes)
        listed = {name: TyperCommand(name, help=it.help, hidden=it.hidden) for name, it in LATER.items()}
        self.commands = {**listed, **self.commands}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:  # noqa: ANN401  - as above
        """Return the command that is to be run."""
        if args and args[0] in LATER:
            if ctx.obj is not None:
                ctx.obj()
            self.commands[args[0]] = imported(args[0])
        return super().resolve_command(ctx, args)


def imported(name: str) -> Any:  # noqa: ANN401  - as above
    """Import a command or a group of commands."""
    module, _, attribute = LATER[name].place.partition(":")
    found = getattr(import_module(f"roomledger.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        command: Any = typer.main.get_group(found)
    else:
        alone = typer.Typer(add_completion=False)
        alone.command(name)(found)
        command = typer.main.get_command(alone)
    command.name, command.hidden = name, LATER[name].hidden
    return command
