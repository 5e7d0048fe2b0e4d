"""Whether the Hugging Face hub can be reached, asked once and without a long wait."""

from __future__ import annotations

import functools
import threading
import urllib.error
import urllib.request

from huggingface_hub import constants

HUB_SECONDS = 3.0


@functools.cache
def hub_answers() -> bool:
    """Whether the hub can be reached, asked once a process and for at most :data:`HUB_SECONDS` seconds.

    With ``HF_HUB_OFFLINE`` nobody is asked.
    """
    if constants.HF_HUB_OFFLINE:
        return False
    answers: list[bool] = []
    # Looking up a name has no time limit of its own, so the question is left behind where it takes longer.
    question = threading.Thread(target=lambda: answers.append(_asked()), daemon=True)
    question.start()
    question.join(HUB_SECONDS)
    return bool(answers) and answers[0]


def _asked() -> bool:
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=HUB_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # an answer all the same
    except (OSError, ValueError):
        return False
