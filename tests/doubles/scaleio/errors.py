"""The ways to answer other than right, and the numbers that errors bear."""

from __future__ import annotations

OLD, NEW = "2.x and 3.x", "4.x"

# Those marked with * have no source that we know: a caller must not tell anything by them.
CODES = {
    "syntax": 0,
    "unauthorized": 0,
    "name taken": 6,
    "not found": 79,
    "no object": 3,  # *
    "no sdc": 69,  # *
    "pool full": 15,  # *
    "mapped": 311,  # *
    "granularity": 94,  # *
    "only larger": 95,  # *
    "name too long": 96,  # *
    "another sdc": 306,
    "already mapped": 81,
    "not mapped": 84,
}
CODES_4 = {**CODES, "already mapped": 4037, "not mapped": 4039}


class Error(Exception):
    """An error as the gateway answers it; with act=True the call is carried out first.

    *code* is its number, or the name of one in CODES.
    """

    def __init__(self, code: int | str, message: str = "", status: int = 500, *, act: bool = False,
                 delay: float = 0) -> None:  # fmt: skip
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status
        self.act = act
        self.delay = delay  # seconds before the answer


class Violation(Error):
    """An error that no right caller causes: it is recorded as a fault."""

    def __init__(self, message: str, status: int = 400, code: int | str = "syntax") -> None:
        super().__init__(code, message, status)


class Drop(Exception):
    """No answer: the connection is closed; with act=True after the call was carried out."""

    def __init__(self, *, act: bool = False, delay: float = 0) -> None:
        self.act = act
        self.delay = delay


class Half(Exception):
    """The right answer's head and half its body, or *size* bytes of it, then the end of the connection."""

    act = True

    def __init__(self, size: int | None = None) -> None:
        self.size = size


class Slow(Exception):
    """The right answer, *delay* seconds late (math.inf: never), or in pieces.

    The call is carried out after the delay; with act=True before it.
    """

    def __init__(self, delay: float = 0, *, act: bool = False, piece: int = 0, gap: float = 0) -> None:
        self.act = act
        self.delay = delay
        self.piece = piece
        self.gap = gap


class Raw(Exception):
    """Any other answer, such as a proxy's page."""

    def __init__(self, status: int, body: bytes = b"", kind: str = "application/json", *, act: bool = False) -> None:
        self.status = status
        self.body = body
        self.kind = kind
        self.act = act


Instead = Error | Drop | Half | Slow | Raw | None
