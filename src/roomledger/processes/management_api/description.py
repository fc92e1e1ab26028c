"""The description of the API (OpenAPI 3.1): what holds for all paths is added here, once.

Shown at ``/docs``, served at ``/openapi.json``.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from roomledger.processes.management_api.doorway import GUARDED, MAX_SEQUENCE, SEQUENCE
from roomledger.processes.management_api.repetitions import KEY, METHODS, REPEATED
from roomledger.processes.management_api.requests import LINK, TOTAL
from roomledger.processes.management_api.shapes import NewToken, ProblemShape

PROBLEM: Final = "application/problem+json"
TEXT: Final = """
Errors are problems (RFC 9457); callers tell them apart by `code`. What is answered 429 or 503 goes away by
itself: `Retry-After` says when.

Every answer says in `Ledger-Sequence` which sequence of the log it reflects. A request may carry that back
and then sees at least that, at whichever process; without it a service sees what it changed by the same
process.

A POST, PUT, PATCH or DELETE with an `Idempotency-Key` has one effect, however often it is sent within ten
minutes; repeated, it gets the same answer.

Lists come in pages: `page` and `per_page`, with `Total-Count` and `Link` (RFC 8288) in the answer.
"""
ALWAYS: Final = {
    HTTPStatus.BAD_REQUEST: "it is not as it should be: `invalid_argument`, `malformed`",
    HTTPStatus.UNAUTHORIZED: "no service is proven: `unauthenticated`",
    HTTPStatus.REQUEST_TIMEOUT: "its body did not arrive in time: `request_timeout`",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "its body is too large: `too_large`",
    HTTPStatus.TOO_MANY_REQUESTS: "one too many for this service: `rate_limited`",
    HTTPStatus.SERVICE_UNAVAILABLE: "not now: `log_unavailable`, `not_ready`, `all_in_full_load`, ...",
}
"""What any guarded path may answer."""
REPEATABLE: Final = {
    HTTPStatus.CONFLICT: "the first request with this key is still under way: `in_progress`",
    HTTPStatus.UNPROCESSABLE_ENTITY: "the key came with another request: `idempotency_key_reused`",
}
"""What any may answer that takes an ``Idempotency-Key``."""
_RETRIED: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_SECURITY: Final = {
    "serviceKey": {"type": "http", "scheme": "bearer", "description": "the service's key"},
    "mauth": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "existing clients: `MAuth realm=...,mauth_signature_method=HMAC_SHA256,"
        "mauth_serviceid=...,mauth_cnonce=...,mauth_timestamp=...[,mauth_username=...,mauth_role=...],"
        "mauth_signature=...`, the signature being base64(hex(HMAC-SHA-256(key, timestamp,cnonce[,username,"
        "role]))); good for one request",
    },
}
_AT_LEAST: Final = {
    "name": SEQUENCE,
    "in": "header",
    "required": False,
    "schema": {"type": "integer", "minimum": 0, "maximum": MAX_SEQUENCE},
    "description": "the answer reflects at least this sequence of the log",
}
_ONCE: Final = {
    "name": KEY,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "description": "sent again with the same key within ten minutes it has one effect",
}
_INTEGER: Final = {"type": "integer"}


def problems(**told: str) -> dict[int | str, dict[str, Any]]:
    """Return what a path may answer beside what all may: the status' name in lower case, and when."""
    return {int(HTTPStatus[name.upper()]): {"description": description} for name, description in told.items()}


def described(app: FastAPI) -> dict[str, Any]:
    """Return the description of an application."""
    document: dict[str, Any] = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for made_up in ("HTTPValidationError", "ValidationError"):  # ours are problems
        schemas.pop(made_up, None)
    # The path for tokens reads its body by itself.
    for shape in (ProblemShape, NewToken):
        schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {shape.__name__: schema}
    components["securitySchemes"] = _SECURITY
    for path, method, operation in _operations(document):
        responses: dict[str, Any] = operation["responses"]
        made_up = responses.get("422", {}).get("description") == "Validation Error"
        if made_up:
            del responses["422"]
        if GUARDED(path):
            operation["security"] = [{name: []} for name in _SECURITY]
            operation.setdefault("parameters", []).append(_AT_LEAST)
            _add(responses, ALWAYS)
            if method in METHODS:
                operation["parameters"].append(_ONCE)
                _add(responses, REPEATABLE)
        for status, response in responses.items():
            _complete(response, HTTPStatus(int(status)), is_list=_is_list(responses), method=method)
        operation["responses"] = dict(sorted(responses.items()))
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def _add(responses: dict[str, Any], told: dict[HTTPStatus, str]) -> None:
    for status, description in told.items():
        there = responses.setdefault(str(int(status)), {"description": ""})
        there["description"] = "; ".join(filter(None, (there["description"], description)))


def _complete(response: dict[str, Any], status: HTTPStatus, *, is_list: bool, method: str) -> None:
    """Add the headers of an answer, and the body of a problem."""
    headers = response.setdefault("headers", {})
    headers[SEQUENCE] = {"schema": _INTEGER, "description": "what it reflects of the log"}
    if status >= HTTPStatus.BAD_REQUEST:
        response["content"] = {PROBLEM: {"schema": {"$ref": "#/components/schemas/ProblemShape"}}}
        if status in _RETRIED:
            headers["Retry-After"] = {"schema": _INTEGER, "description": "in seconds"}
        return
    if method in METHODS:
        headers[REPEATED] = {
            "schema": {"type": "string", "enum": ["true"]},
            "description": "it is the answer of an earlier request",
        }
    if is_list:
        headers[TOTAL] = {"schema": _INTEGER, "description": "how many there are on all pages together"}
        headers[LINK] = {"schema": {"type": "string"}, "description": "the other pages"}


def _is_list(responses: dict[str, Any]) -> bool:
    content = responses.get("200", {}).get("content", {}).get("application/json", {})
    return bool(content.get("schema", {}).get("type") == "array")
