"""``scansuite completion``: what makes bash, zsh or fish complete tasks, verbs, flags and their values."""

from __future__ import annotations

from collections.abc import Sequence

from scansuite.errors import SuiteError, nearest
from tasks.cli.main import BESIDE, VERBS
from tasks.cli.starting.completion import FILES, candidates
from tasks.cli.starting.shells import SCRIPTS, joined

USAGE = """\
usage: scansuite completion bash|zsh|fish

Prints what makes a shell complete tasks, verbs, flags and their values. Once, for all shells that are started later:

  bash   echo 'source <(scansuite completion bash)' >> ~/.bashrc
  zsh    echo 'source <(scansuite completion zsh)' >> ~/.zshrc
  fish   mkdir -p ~/.config/fish/completions; scansuite completion fish > ~/.config/fish/completions/scansuite.fish

It is the command scansuite that is completed, not python -m tasks.classify.
"""


def run(argv: Sequence[str]) -> int:
    """Print the script of a shell, or, where a shell asks, what may come next.

    Args:
        argv: words behind ``scansuite completion``.
    """
    if len(argv) >= 2 and argv[0] == "--words":
        _answer(argv[1], list(argv[2:]))
        return 0
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if argv[0] not in SCRIPTS or len(argv) > 1:
        raise SuiteError(f"completion {' '.join(argv)}: name one shell: {nearest(argv[0], SCRIPTS)}")
    print(SCRIPTS[argv[0]], end="")
    return 0


def _answer(shell: str, words: list[str]) -> None:
    for one in candidates(joined(words) if shell == "bash" else words, VERBS, BESIDE):
        # bash replaces what is behind "=" alone.
        word = one.word.rpartition("=")[2] if shell == "bash" else one.word
        print(f"{word}\t{one.help}" if one.help and word != FILES and shell != "bash" else word)
