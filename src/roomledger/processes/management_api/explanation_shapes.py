"""A decision on a task when it is explained over HTTP, as `roomledger explain --json` prints it."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from roomledger.processes.management_api.shapes import Shape


class _Shape(Shape):
    model_config = ConfigDict(alias_generator=None)


class CandidateShape(_Shape):
    """A worker as the decision found it."""

    worker: str
    available: Annotated[
        bool | None, Field(description="whether it could be given a task; null where its report has expired")
    ]
    hard: Annotated[bool, Field(description="whether it serves what must be served")]
    soft: Annotated[bool | None, Field(description="whether it serves the region wished for, if one was")]
    matched: Annotated[bool | None, Field(description="whether it was left to choose from")]
    refused_by: Annotated[str | None, Field(description="the rule that refused it")]
    load: Annotated[float | None, Field(description="what it had reported last")]
    reservations: Annotated[int, Field(description="how many counted on top")]
    effective_load: Annotated[float | None, Field(description="the load that counted")]
    recorded_load: Annotated[float | None, Field(description="the one that the decision names for it")]
    max_load: Annotated[float, Field(description="it gets no task from there on")]
    turn: Annotated[int | None, Field(description="the smallest is next, where workers take turns")]
    rank: Annotated[int | None, Field(description="its place in the order of the strategy")]


class RunnerUpShape(_Shape):
    """A worker that came close, with its effective load at the decision."""

    worker: str
    load: float


class FiguresShape(_Shape):
    """The figures that a decision recorded; what has its default is left out."""

    sequence: Annotated[int, Field(description="the last sequence that was known to who decided")]
    strategy: str
    workers: Annotated[int, Field(description="how many there were of the purpose")]
    candidates: Annotated[int, Field(description="how many of them were left to choose from")]
    refused: Annotated[dict[str, int], Field(default_factory=dict, description="how many were not, by rule")]
    load: Annotated[float | None, Field(description="the chosen one's effective load")] = None
    runners_up: Annotated[list[RunnerUpShape], Field(default_factory=list)]
    draw: Annotated[float | None, Field(description="the random draw, where the strategy needs one")] = None


class PurposeSettingsShape(_Shape):
    """By what a purpose's decisions are made."""

    strategy: str
    task_load: float
    reserve_ms: int
    lease_ms: int
    load_threshold: float
    report_delay_ms: int


class FindingShape(_Shape):
    """Something that cannot be, as `roomledger verify` names it."""

    check: Annotated[str, Field(description="which check found it")]
    sequence: Annotated[int, Field(description="the commit at which it shows")]
    place: Annotated[int, Field(description="where in the commit")]
    about: str
    message: Annotated[str, Field(description="what is wrong, in a sentence")]


class ExplanationShape(_Shape):
    """Why a task went to its worker, or was refused: the decision made once more, from the log."""

    purpose: str
    task: str
    sequence: Annotated[int, Field(description="where the decision stands in the log")]
    place: Annotated[int, Field(description="and where in its commit")]
    time: datetime
    manager: Annotated[str, Field(description="who decided")]
    actor: Annotated[str, Field(description="who wanted it")]
    correlation: Annotated[str, Field(description="what set it off, such as a token's id")]
    basis: Annotated[int, Field(description="the last sequence that it took into account")]
    strategy: str
    settings: PurposeSettingsShape
    preference: dict[str, Any]
    picked_last: Annotated[str | None, Field(description="whom the strategy remembered for such a wish")]
    draw: float | None
    worker: Annotated[str | None, Field(description="the winner in the log; null for a refusal")]
    reason: Annotated[str | None, Field(description="why it was refused")]
    figures: FiguresShape
    computed: Annotated[str | None, Field(description="the winner by the same rules on the same state")]
    computed_reason: Annotated[str | None, Field(description="why these rules refuse it")]
    agrees: Annotated[
        bool | None, Field(description="whether the log says what the rules lead to; null: not to be told")
    ]
    differences: list[str]
    missing_reports: Annotated[int, Field(description="how many workers' load reports have expired")]
    candidates: list[CandidateShape]
    findings: Annotated[
        list[FindingShape], Field(description="what cannot be of what the log says of this task")
    ]
