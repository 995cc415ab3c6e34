"""The messages of the frontend/backend protocol, version 3, as plain values (section 55.7)."""

from __future__ import annotations

from dataclasses import dataclass, field

PROTOCOL_VERSION = 3 << 16
CANCEL_REQUEST_CODE = 80877102
SSL_REQUEST_CODE = 80877103
GSSENC_REQUEST_CODE = 80877104

TEXT_FORMAT = 0
BINARY_FORMAT = 1


@dataclass(slots=True)
class StartupMessage:
    """``parameters`` in the order they were sent; ``version`` is major << 16 | minor."""

    parameters: list[tuple[str, str]]
    version: int = PROTOCOL_VERSION


@dataclass(slots=True)
class SSLRequest:
    pass


@dataclass(slots=True)
class GSSENCRequest:
    pass


@dataclass(slots=True)
class CancelRequest:
    process_id: int
    secret_key: bytes


@dataclass(slots=True)
class PasswordMessage:
    """A password, SASL or GSSAPI answer; never put into a document."""

    data: bytes


@dataclass(slots=True)
class Query:
    sql: str


@dataclass(slots=True)
class Parse:
    name: str
    sql: str
    type_oids: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Bind:
    portal: str
    statement: str
    parameter_formats: list[int] = field(default_factory=list)
    parameters: list[bytes | None] = field(default_factory=list)
    result_formats: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Describe:
    """``kind`` is ``S`` (statement) or ``P`` (portal)."""

    kind: str
    name: str


@dataclass(slots=True)
class Execute:
    portal: str
    max_rows: int = 0


@dataclass(slots=True)
class Close:
    """``kind`` is ``S`` (statement) or ``P`` (portal)."""

    kind: str
    name: str


@dataclass(slots=True)
class FunctionCall:
    oid: int
    argument_formats: list[int]
    arguments: list[bytes | None]
    result_format: int


@dataclass(slots=True)
class Flush:
    pass


@dataclass(slots=True)
class Sync:
    pass


@dataclass(slots=True)
class Terminate:
    pass


@dataclass(slots=True)
class CopyData:
    data: bytes


@dataclass(slots=True)
class CopyDone:
    pass


@dataclass(slots=True)
class CopyFail:
    message: str


@dataclass(slots=True)
class Authentication:
    """``code`` 0 is AuthenticationOk; ``data`` is what follows the code."""

    code: int
    data: bytes = b""


@dataclass(slots=True)
class BackendKeyData:
    process_id: int
    secret_key: bytes


@dataclass(slots=True)
class ParameterStatus:
    name: str
    value: str


@dataclass(slots=True)
class ReadyForQuery:
    """``status`` is ``I`` (idle), ``T`` (in a transaction block) or ``E`` (in a failed one)."""

    status: str


@dataclass(slots=True)
class Column:
    """One field of a RowDescription."""

    name: str
    table_oid: int
    column: int
    type_oid: int
    type_size: int
    type_modifier: int
    format: int


@dataclass(slots=True)
class RowDescription:
    columns: list[Column]


@dataclass(slots=True)
class DataRow:
    values: list[bytes | None]


@dataclass(slots=True)
class CommandComplete:
    tag: str


@dataclass(slots=True)
class EmptyQueryResponse:
    pass


@dataclass(slots=True)
class PortalSuspended:
    pass


@dataclass(slots=True)
class ParseComplete:
    pass


@dataclass(slots=True)
class BindComplete:
    pass


@dataclass(slots=True)
class CloseComplete:
    pass


@dataclass(slots=True)
class NoData:
    pass


@dataclass(slots=True)
class ParameterDescription:
    type_oids: list[int]


@dataclass(slots=True)
class ErrorResponse:
    """``fields`` by their letter (section 55.8), in order."""

    fields: dict[str, str]


@dataclass(slots=True)
class NoticeResponse:
    fields: dict[str, str]


@dataclass(slots=True)
class NotificationResponse:
    process_id: int
    channel: str
    payload: str


@dataclass(slots=True)
class CopyResponse:
    """CopyInResponse, CopyOutResponse or CopyBothResponse by ``direction``."""

    direction: str
    format: int
    column_formats: list[int]


@dataclass(slots=True)
class FunctionCallResponse:
    value: bytes | None


@dataclass(slots=True)
class NegotiateProtocolVersion:
    minor: int
    options: list[str]


UntypedMessage = StartupMessage | SSLRequest | GSSENCRequest | CancelRequest
FrontendMessage = (
    Query
    | Parse
    | Bind
    | Describe
    | Execute
    | Close
    | FunctionCall
    | Flush
    | Sync
    | Terminate
    | CopyData
    | CopyDone
    | CopyFail
    | PasswordMessage
)
BackendMessage = (
    Authentication
    | BackendKeyData
    | ParameterStatus
    | ReadyForQuery
    | RowDescription
    | DataRow
    | CommandComplete
    | EmptyQueryResponse
    | PortalSuspended
    | ParseComplete
    | BindComplete
    | CloseComplete
    | NoData
    | ParameterDescription
    | ErrorResponse
    | NoticeResponse
    | NotificationResponse
    | CopyResponse
    | CopyData
    | CopyDone
    | FunctionCallResponse
    | NegotiateProtocolVersion
)
