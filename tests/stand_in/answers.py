"""Answers of the server, and the errors among them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A status, further headers, and a body: text, bytes, or what is sent as JSON."""

    status: int
    content: Any
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def result(cls, result: Any) -> "Answer":
        return cls(200, {"result": result, "status": "ok", "time": 0.0}, {"Content-Type": "application/json"})

    @classmethod
    def plain(cls, status: int, text: str) -> "Answer":
        return cls(status, text)


class Refusal(Exception):
    """An error that the server reports as JSON."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = {"status": {"error": message}, "time": 0.0}
        self.answer = Answer(status, content, {"Content-Type": "application/json", **named})


def wrong_input(message: str) -> Refusal:
    return Refusal(400, f"Wrong input: {message}")


def not_found(message: str) -> Refusal:
    return Refusal(404, f"Not found: {message}")


def format_error(message: str) -> Refusal:
    return Refusal(400, f"Format error in JSON body: {message}")
