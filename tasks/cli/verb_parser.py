"""The flags of a verb: its own and those of libraries, config files, help, and what is wrong with them.

A verb is a module with its flags and a ``run``: it makes a :class:`VerbParser` and reads ``config``. Importing this
module brings neither torch nor Lightning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from jsonargparse import ActionConfigFile, ArgumentParser, set_parsing_settings

from scansuite.own_parts import TRUSTED, allowed, load_part
from tasks.cli.commented import asked, commented, without_comments
from tasks.cli.config_keys import refuse_unknown_keys
from tasks.cli.flags import (
    OF_ALL,
    SHORTHANDS,
    find_configs,
    pairs,
    refuse_unknown,
    refuse_valueless,
    values_of,
    wants_help,
)
from tasks.cli.help import Section, short_help
from tasks.cli.help_lines import documented, own_line
from tasks.cli.main import VERBS
from tasks.cli.part_help import part_help
from tasks.cli.trainer_help import trainer_lines
from tasks.cli.trainer_types import whole_numbers_first
from tasks.registry.flag import Flag, OwnFlags
from tasks.registry.spec import load
from tasks.registry.specs import spec_of

if TYPE_CHECKING:
    from jsonargparse import Namespace


ALLOW_IMPORT = Flag(
    "modules (mypkg) of your own from which classes may be imported that flags, --config or a checkpoint name; left "
    "out: none",
    str,
    [],
    several=True,
)
# What classes that flags of the trainer name must be.
_BASES = {"callbacks": "pytorch_lightning.callbacks.Callback", "logger": "pytorch_lightning.loggers.Logger"}
_CONFIG = "YAML with any of these flags, or the name of a shipped one (experiment/medmnist); may be repeated"
_PRINT_CONFIG = "print all flags as such a YAML, each with its help (=skip_default: those that differ alone), and end"


class VerbParser:
    """Parses the flags of a verb.

    Where help is asked for it is printed, and the process ends with status 0.

    Args:
        task: name of the task.
        verb: what is done.
        argv: flags as typed.
        own_flags: of the verb, by name.
        words: name and meaning of what is typed without a flag; None: nothing is.
        more: what the help says below what the verb does.
        groups: classes whose constructor's arguments are flags, by the name that stands before them (``data``).
        builds: the verb builds something from its flags: it takes ``--config`` and ``--allow_import``.
        without: arguments of ``groups`` that would do nothing here, and are no flags (``data.num_workers``).

    Attributes:
        spec: of the task.
        parser: of jsonargparse.
        config: the values.

    Raises:
        SuiteError: an unknown flag (the nearest is named), or no such config.
        argparse.ArgumentError: a value of the wrong kind.
    """

    trains = False  # the help shows flags of training
    trainer_defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        task: str,
        verb: str,
        argv: Sequence[str],
        *,
        own_flags: OwnFlags,
        words: tuple[str, str] | None = None,
        more: str = "",
        groups: Mapping[str, type] | None = None,
        builds: bool = True,
        without: Sequence[str] = (),
    ) -> None:
        self.task, self.verb, self.spec = task, verb, spec_of(task)
        self.own_flags = {name: Flag(flag) if isinstance(flag, str) else flag for name, flag in own_flags.items()}
        if builds:
            self.own_flags["allow_import"] = ALLOW_IMPORT
        self.words, self.more, self.groups, self.builds = words, more, groups or {}, builds
        self.without = frozenset(without)
        typed = find_configs(argv) if builds else list(argv)
        help_wanted = wants_help(typed)
        if help_wanted in ("short", "all"):  # from docstrings: no parser is made for it
            whole = help_wanted == "all"
            further = {} if whole else self.further_help()
            print(short_help(self.usage, self.about, self.sections(typed, whole=whole), further))
            raise SystemExit(0)
        if help_wanted == "other" and (text := self.help_of_part(typed)) is not None:
            print(text)
            raise SystemExit(0)
        follow_allowed_paths()
        self.parser = self.make_parser(
            exit_on_error=False,
            prog=self.command,
            usage=self.usage,
            description=self.about,
        )
        if builds:
            self.parser.add_argument("-c", "--config", action=ActionConfigFile, help=_CONFIG)
        self.add_flags(self.parser)
        self.check(typed)
        if builds and asked(typed):
            self._print_with_comments()
        self.config: Namespace = self.parser.parse_args(without_comments(typed))
        for name, flag in self.own_flags.items():
            if self.config[name] is None:  # null in a config is left out
                self.config[name] = flag.default
        if builds:
            # Of a config file it is a record alone: what came with a file does not choose what code runs.
            self.config["allow_import"] = values_of(typed, "--allow_import")

    @property
    def command(self) -> str:
        """The verb as it is typed."""
        return f"{self.spec.program} {self.verb}"

    @property
    def usage(self) -> str:
        """How the verb is called."""
        typed = f" [{self.words[0]} ...]" if self.words is not None else ""
        return f"{self.command}{typed} [flags]"

    @property
    def about(self) -> str:
        """What the verb does."""
        text = VERBS[self.verb]
        return ". ".join(filter(None, [text[0].upper() + text[1:], self.more])) + "."

    def make_parser(self, **settings: Any) -> ArgumentParser:
        """A parser without flags."""
        return ArgumentParser(**settings)

    def add_flags(self, parser: ArgumentParser) -> None:
        """Add all flags."""
        self.add_groups(parser)
        if self.words is not None:
            parser.add_argument(self.words[0], nargs="*", type=str, default=[], help=self.words[1])
        for name, flag in self.own_flags.items():
            more = {"nargs": "+"} if flag.several else {}
            default = list(flag.default or []) if flag.several else flag.default
            parser.add_argument(
                f"--{name}", type=str if flag.several else flag.kind, default=default, help=flag.help, **more
            )

    def add_groups(self, parser: ArgumentParser) -> None:
        """Add the flags of classes; a subclass adds to them."""
        for name, cls in self.groups.items():
            if name == "trainer":
                whole_numbers_first(cls)
            # A trainer is made by the verb, which has callbacks of its own for it.
            skipped = {key.removeprefix(f"{name}.") for key in self.without if key.startswith(f"{name}.")}
            parser.add_class_arguments(
                cls,
                name,
                fail_untyped=False,
                instantiate=name != "trainer",
                sub_configs=name == "trainer",
                skip=skipped,
            )

    def _print_with_comments(self) -> None:
        """Let the parser print each flag with its help."""
        dump, head = self.parser.dump, f"{self.command} --config FILE takes this file; lines may be left out"

        def with_comments(*args: Any, **settings: Any) -> str:
            text = dump(*args, **settings)
            return commented(text, self.key_lines(text), head)

        self.parser.dump = with_comments

    def key_lines(self, text: str) -> dict[str, str]:
        """What is said of each flag in a printed configuration.

        Args:
            text: the configuration as YAML.
        """
        return {name: told for _, rows in self.sections((), whole=True) for name, told in rows}

    def known_flags(self, argv: Sequence[str]) -> set[str]:
        """Full names of the flags that may be typed."""
        options = [option for action in self.parser._actions for option in action.option_strings]
        # Links are no flags; `+`, and `.help` of what a flag may name, go with the flag itself.
        return {
            option
            for option in options
            if option.startswith("-")
            and not option.endswith("+")
            and (option == "--data.help" or not option.endswith(".help"))
        }

    def silent_keys(self) -> set[str]:
        """Full names of what may stand in a config though it is no flag."""
        return set()

    def sections(self, argv: Sequence[str], *, whole: bool = False) -> list[Section]:
        """What help shows, in order.

        Args:
            argv: words as typed.
            whole: every flag, not those alone that a user needs first.
        """
        own = [(f"--{name}", own_line(name, flag)) for name, flag in self.own_flags.items()]
        own += [
            (short, told) for short, (flag, _, told) in SHORTHANDS.items() if flag.removeprefix("--") in self.own_flags
        ]
        typed = [] if self.words is None else [self.words]
        common = [("--config", _CONFIG), ("--print_config", _PRINT_CONFIG)] if self.builds else []
        sections: list[Section] = [("", [*typed, *own, *common, *OF_ALL.items()])]
        for name, cls in self.groups.items():
            if name != "trainer":
                told = documented(f"--{name}.", cls.__mro__[:-1], cls)
                sections.append((name, [row for row in told.items() if row[0].removeprefix("--") not in self.without]))
        if "trainer" in self.groups:
            lines = trainer_lines(
                self.groups["trainer"], trains=self.trains, whole=whole, defaults=self.trainer_defaults
            )
            sections.append(("trainer", lines))
        return sections

    def help_of_part(self, argv: Sequence[str]) -> str | None:
        """Help of what another flag names (``--trainer.callbacks.help EarlyStopping``); None where there is none such.

        Raises:
            SuiteError: there is no such class, or its module is not allowed.
        """
        return part_help(argv) if "trainer" in self.groups else None

    def further_help(self) -> dict[str, str]:
        """Where flags are shown that the short help has not."""
        return {"every flag": f"{self.command} --help_all"}

    def check(self, argv: Sequence[str]) -> None:
        """Refuse what can be seen to be wrong before anything is parsed; a subclass adds to it."""
        known = self.known_flags(argv)
        refuse_unknown(argv, known)
        refuse_valueless(argv, known)
        if self.builds:
            refuse_unknown_keys(argv, known, self.silent_keys())
        for name, path in pairs(argv):
            # The parser says little of a class that is not there.
            if name.startswith("--trainer.") and any(path.startswith(f"{module}.") for module in allowed()):
                base = _BASES.get(name.removeprefix("--trainer.").removesuffix("+"))
                load_part(path, object if base is None else load(base), name.removesuffix("+"))


_followed: set[str] = set()  # what the parser, whose settings are those of the process, was ever allowed to import


def follow_allowed_paths() -> None:
    """Let the parser import, for a class path in a flag or file, what is trusted or allowed, and nothing else."""
    before, now = set(_followed), set(allowed())
    _followed.update(now)
    set_parsing_settings(
        import_path_denylist=["*", *sorted(before - now)],
        import_path_allowlist=[*TRUSTED, *sorted(now)],
        # A dictionary with the key class_path, where any value is taken, stays a dictionary.
        instantiate_subclass_spec_in_any=False,
    )
