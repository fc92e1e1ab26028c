"""Every error as a problem (RFC 9457): which status a client sees, and how it is written."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from roomledger.domain.errors import Code, Refusal
from roomledger.event_store.errors import Conflict, EventStoreError, LogFull
from roomledger.processes.management_api.errors import Problem
from roomledger_projections.errors import ProjectionError

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
FULL_RETRY_MS: Final = 10_000
_SHOWN: Final = 3
_LONGEST: Final = 500

STATUS: Final = {
    Code.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    Code.INVALID_ROLE: HTTPStatus.BAD_REQUEST,
    Code.NO_SUCH_ROOM: HTTPStatus.NOT_FOUND,
    Code.NO_SUCH_PARTICIPANT: HTTPStatus.NOT_FOUND,
    Code.NO_SUCH_WORKER: HTTPStatus.NOT_FOUND,
    Code.NO_SUCH_TASK: HTTPStatus.NOT_FOUND,
    Code.INVALID_TOKEN: HTTPStatus.NOT_FOUND,
    Code.ROOM_EXISTS: HTTPStatus.CONFLICT,
    # Another preference, or another worker, would do; the request as such is well formed.
    Code.NO_MATCH: HTTPStatus.CONFLICT,
    Code.NO_SUCH_PURPOSE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.LOG_FULL: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The statuses of refusals; those that waiting may mend are 503, and all others 500."""
_CODES: Final = {
    HTTPStatus.BAD_REQUEST: "malformed",
    HTTPStatus.NOT_FOUND: "no_such_path",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
}


def problem_of(error: Exception) -> Problem:
    """Return the problem that an error is to a client; what nobody foresaw is logged and not told."""
    if isinstance(error, Problem):
        return error
    for kind, problem in _PROBLEMS:
        if isinstance(error, kind):
            return problem(error)
    log.error("a request failed", exc_info=error)
    detail = "something went wrong here; the log lines of the management API say what"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, Code.INTERNAL, detail)


def answer(problem: Problem) -> JSONResponse:
    """Write a problem."""
    body = {
        "type": f"urn:roomledger:problem:{problem.code}",
        "title": problem.code.replace("_", " ").capitalize(),
        "status": int(problem.status),
        "detail": problem.detail,
        "code": str(problem.code),
    }
    return JSONResponse(body, problem.status, problem.headers, MEDIA_TYPE)


def _of_refusal(refusal: Refusal) -> Problem:
    if refusal.retry_after_ms is not None:
        return Problem.retryable(refusal.code, refusal.message, after_ms=refusal.retry_after_ms)
    status = STATUS.get(refusal.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        return Problem.retryable(refusal.code, refusal.message)
    return Problem(status, refusal.code, refusal.message)


def _of_http(error: HTTPException) -> Problem:
    status = HTTPStatus(error.status_code)
    code = _CODES.get(status, status.phrase.lower().replace(" ", "_"))
    return Problem(status, code, str(error.detail), headers=dict(error.headers or {}))


def _of_validation(error: RequestValidationError) -> Problem:
    """Return what is wrong; what was sent is not repeated, since it may be anything."""
    errors: Sequence[Any] = error.errors()
    if errors and errors[0]["type"] == "json_invalid":
        reason = errors[0].get("ctx", {}).get("error", "it cannot be read")
        return Problem(HTTPStatus.BAD_REQUEST, "malformed", f"the body is no JSON: {reason}")
    found = [f"{'.'.join(str(step) for step in error['loc'])}: {error['msg']}" for error in errors[:_SHOWN]]
    if len(errors) > _SHOWN:
        found.append(f"and {len(errors) - _SHOWN} more")
    text = "; ".join(found).encode(errors="replace").decode()
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return Problem(HTTPStatus.BAD_REQUEST, Code.INVALID_ARGUMENT, shown)


_PROBLEMS: Final[Sequence[tuple[type[Exception], Callable[[Any], Problem]]]] = (
    (Refusal, _of_refusal),
    (LogFull, lambda error: Problem.retryable(Code.LOG_FULL, str(error), after_ms=FULL_RETRY_MS)),
    (Conflict, lambda error: Problem.retryable(Code.BUSY, str(error))),
    (EventStoreError, lambda error: Problem.retryable(Code.LOG_UNAVAILABLE, str(error))),
    (ProjectionError, lambda _: Problem.retryable(Code.NOT_READY, "what is known cannot be read now")),
    (RequestValidationError, _of_validation),
    (HTTPException, _of_http),
)
"""Kinds of errors, each before those that it is one of."""
