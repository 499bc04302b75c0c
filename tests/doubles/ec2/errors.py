"""The ways to answer other than right."""

from __future__ import annotations


class Error(Exception):
    """An error as EC2 answers it; with act=True the call is carried out first."""

    def __init__(self, code: str, message: str = "", status: int = 400, *, act: bool = False,
                 delay: float = 0) -> None:  # fmt: skip
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status
        self.act = act
        self.delay = delay  # seconds before the answer


class Violation(Error):
    """An error that no right caller causes: it is recorded as a fault."""


class Drop(Exception):
    """No answer: the connection is closed; with act=True after the call was carried out."""

    def __init__(self, *, act: bool = False, delay: float = 0) -> None:
        self.act = act
        self.delay = delay
