"""Shell patterns that choose among the files of a folder (``--data.include``, ``--data.exclude``)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from datamodules.readers.listing import path_below
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)


def fits(path: str, pattern: str) -> bool:
    """Whether a pattern fits a path.

    A pattern without a slash is of names: of the file's, or of a folder's above it. One with a slash is of the path
    from the root on, or of a folder's. ``*`` stands for any characters, slashes too, ``?`` for one, ``[ab]`` for one of
    these.

    Args:
        path: relative to the root, POSIX.
        pattern: as typed.
    """
    wanted = pattern.removeprefix("./").strip("/")
    whole = PurePosixPath(path)
    if "/" not in pattern.removeprefix("./").rstrip("/"):
        return any(fnmatchcase(part, wanted) for part in whole.parts)
    return any(fnmatchcase(str(place), wanted) for place in (whole, *whole.parents))


class FilePatterns:
    """Patterns by which files are taken and left out.

    Args:
        include: files to take; empty: all.
        exclude: files to leave out, also of those.
        flags: that gave them.
    """

    def __init__(
        self,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        flags: tuple[str, str] = ("--data.include", "--data.exclude"),
    ) -> None:
        self.include = [pattern for pattern in include if pattern]
        self.exclude = [pattern for pattern in exclude if pattern]
        self.flags = flags

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    def __str__(self) -> str:
        given = zip(self.flags, (self.include, self.exclude), strict=True)
        return " ".join(f"{flag} {','.join(patterns)}" for flag, patterns in given if patterns)

    def take(self, path: str) -> bool:
        """Whether a file is taken, by its path from the root."""
        included = not self.include or any(fits(path, pattern) for pattern in self.include)
        return included and self.keep(path)

    def keep(self, path: str) -> bool:
        """Whether a file is not left out: what belongs to a file that is taken (its mask) need not be included."""
        return not any(fits(path, pattern) for pattern in self.exclude)

    def chosen(self, names: Sequence[str], root: object, below: str = "") -> list[str]:
        """The files that are taken; how many are left out is said.

        Args:
            names: of files, relative to a folder.
            root: of the data, for messages.
            below: that folder, relative to the root.

        Raises:
            SuiteError: none is left of some.
        """
        if not self:
            return list(names)
        paths = {name: path_below(below, name) for name in names}
        taken = [name for name, path in paths.items() if self.take(path)]
        if names and not taken:
            raise self._none_left(list(paths.values()), root)
        if len(taken) < len(names):
            log.info("%s: %d of %d files are left out (%s)", root, len(names) - len(taken), len(names), self)
        return taken

    def _none_left(self, paths: Sequence[str], root: object) -> SuiteError:
        unfit = [pattern for pattern in self.include if not any(fits(path, pattern) for path in paths)]
        if not unfit:
            return SuiteError(
                f"{self}: leaves none of the {len(paths)} files in {root} ({paths[0]}): take a pattern back"
            )
        known = {part for path in paths for part in (path, *PurePosixPath(path).parts)}
        near = get_close_matches(unfit[0].replace("*", ""), sorted(known), n=1, cutoff=0.4) or [paths[0]]
        return SuiteError(
            f"{self.flags[0]} {unfit[0]}: fits none of the {len(paths)} files in {root}: the nearest is {near[0]}; a "
            "pattern is of names, or with a slash of the path from that folder on"
        )


ALL = FilePatterns()
