"""A request that is not answered with what it asks for, and why."""

from __future__ import annotations


class RefusedError(Exception):
    """A request is refused.

    Args:
        status: of HTTP.
        text: one line for the caller.
        retry: seconds after which it may be tried again; None: that would not help.
    """

    def __init__(self, status: int, text: str, retry: int | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.retry = status, text, retry

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {} if self.retry is None else {"Retry-After": str(self.retry)}
