"""A request that is not answered with what it asks for, and why."""

from __future__ import annotations

import traceback

_MOST_SHOWN = 6  # frames of a traceback


class RefusedError(Exception):
    """A request is refused.

    Args:
        status: of HTTP.
        text: one line for the caller.
        retry: seconds after which it may be tried again; None: that would not help.
    """

    def __init__(self, status: int, text: str, retry: int | None = None) -> None:
        super().__init__(text)
        # What is quoted of a request may hold halves of characters, which no answer can.
        self.status, self.text, self.retry = status, text.encode("utf-8", "replace").decode(), retry

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {} if self.retry is None else {"Retry-After": str(self.retry)}


def place_of(error: BaseException) -> str:
    """The class of an error and where it was raised, without its text, in which names from a file may stand."""
    frames = traceback.extract_tb(error.__traceback__)[-_MOST_SHOWN:]
    places = " <- ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}"
