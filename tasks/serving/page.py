"""The service's page: one document with its style and its script, which its policy allows by their hashes alone."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from markupsafe import Markup

from datamodules.pictures.html_page import render
from tasks.serving.names import NOTICE


class Page:
    """The page.

    Attributes:
        policy: its Content-Security-Policy: nothing inline but what is ours, nothing from elsewhere.
    """

    def __init__(self) -> None:
        basic = resources.files("datamodules.pictures").joinpath("page.css").read_text(encoding="utf-8")
        self._style = basic + _own("serve.css")
        self._script = _own("serve.js")
        self.policy = (
            f"default-src 'none'; style-src '{_hash(self._style)}'; script-src '{_hash(self._script)}'; "
            "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def html(self, *, token: bool, keeps: bool, most: float) -> str:
        """The document.

        Args:
            token: it asks for the service's token.
            keeps: the service keeps what is sent to it.
            most: MiB that it takes in a request.
        """
        return str(
            render(
                _own("templates/page.html"),
                style=Markup(self._style),
                script=Markup(self._script),
                notice=NOTICE,
                token=token,
                keeps=keeps,
                most=f"{most:g}",
            )
        )


@cache
def _own(name: str) -> str:
    return resources.files("tasks.serving").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
