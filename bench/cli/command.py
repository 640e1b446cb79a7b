"""How a verb becomes a command: a function of one frozen dataclass of options, which returns an exit code.

Its module is imported when it is called. Fields made by `option` or `argument` define the command line: type, flag,
help and default of an option are declared only there.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

# Exit codes; where several apply, the first of 130/143, 70, 2, 4, 5, 1, 3.
REGRESSED = 1  # a comparison found a regression
USAGE = 2  # something that the user can fix
UNDECIDED = 3  # a comparison could not be decided, or a budget ended before each case had a launch
NOT_COMPARABLE = 4
FAILED = 5  # at least one case failed
FAULT = 70  # a fault of Epochbench itself
INTERRUPTED = 130  # and 143 for SIGTERM: 128 and the number of the signal

_REQUIRED = ...  # typer's word for an argument without a default
_PARAMETER = "command line"  # in the metadata of a field: typer's description of it
_ORDER = "order"  # the order of declaration
_AFTER_DASHES = "epochbench script arguments"

_numbers = itertools.count()


def option(default: Any, *flags: str, **words: Any) -> Any:
    """A field that an option sets; without `flags` its name is the flag. `words` are those of typer.Option."""
    return _field(default, typer.Option(default, *flags, **words), words.get("parser"))


def argument(default: Any = _REQUIRED, **words: Any) -> Any:
    """A field that an argument sets. `words` are those of typer.Argument."""
    return _field(default, typer.Argument(default, **words))


def _field(default: Any, parameter: Any, parser: Callable[[str], Any] | None = None) -> Any:
    metadata = {_PARAMETER: parameter, _ORDER: next(_numbers)}
    if default is _REQUIRED:
        return field(metadata=metadata)
    return field(default=default if parser is None or default is None else parser(default), metadata=metadata)


@typing.dataclass_transform(kw_only_default=True, frozen_default=True)
@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of every verb; each subclass is a frozen dataclass.

    `typed` are the fields that the user gave, `script_arguments` the arguments after `--`.
    """

    takes_script: ClassVar[bool] = False

    typed: frozenset[str] = frozenset()
    script_arguments: Sequence[str] | None = None
    debug: bool = option(
        False, "--debug", help="Show tracebacks, including those of your code in a failed launch."
    )

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)


AnyOptions = TypeVar("AnyOptions", bound=Options)


def parameters(options: type[Options]) -> dict[str, Any]:
    """Arguments, those of the class itself first; then options in order of declaration, those of every verb last."""
    declared = {one.name: one.metadata for one in dataclasses.fields(options) if one.metadata}
    own_first = [name for base in options.__mro__ for name in inspect.get_annotations(base)]

    def place(name: str) -> tuple[int, int]:
        if isinstance(declared[name][_PARAMETER], typer.models.ArgumentInfo):
            return 0, own_first.index(name)
        return 2 if name in Options.__dataclass_fields__ else 1, declared[name][_ORDER]

    return {name: declared[name][_PARAMETER] for name in sorted(declared, key=place)}


def flag(options: type[Options], name: str) -> str:
    """A field as the user types it: `--max-launches`, `-k`, or SUITE for an argument."""
    parameter = parameters(options)[name]
    if not isinstance(parameter, typer.models.OptionInfo):
        return str(parameter.metavar)
    return (parameter.param_decls or (f"--{name.replace('_', '-')}",))[0]


def command(main: Callable[[AnyOptions], int], name: str, help: str) -> TyperCommand:
    """The command for a function, from the dataclass that is its parameter."""
    options: type[AnyOptions] = next(iter(typing.get_type_hints(main).values()))
    types = typing.get_type_hints(options)

    def run(context: typer.Context, **values: Any) -> int:
        given = {
            name for name, value in values.items() if value is not None
        }  # for click, absent suites are typed
        typed = {name for name in given if "COMMANDLINE" in str(context.get_parameter_source(name))}
        script_arguments = context.meta.get(_AFTER_DASHES)
        return main(options(typed=frozenset(typed), script_arguments=script_arguments, **values))

    kind = inspect.Parameter.KEYWORD_ONLY
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what typer reads
        [
            inspect.Parameter("context", kind, annotation=typer.Context),
            *(
                inspect.Parameter(field, kind, default=parameter, annotation=types[field])
                for field, parameter in parameters(options).items()
            ),
        ]
    )
    app = typer.Typer(add_completion=False)
    app.command(name, cls=_ScriptCommand if options.takes_script else _Command, help=help)(run)
    return typing.cast(TyperCommand, typer.main.get_command(app))


class _ShortHelp:
    """A command whose help shows no type after a flag without a value, nor after the name of an argument."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # of the command that this is mixed into
        for parameter in params:
            if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                parameter.metavar = ""
            elif parameter.param_type_name == "argument":
                parameter.display_type_rich = lambda **_: None
        return params


class _Command(_ShortHelp, TyperCommand):
    """A verb."""


class _ScriptCommand(_Command):
    """A verb for suites, or for a script whose own arguments follow `--`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta[_AFTER_DASHES] = args[place + 1 :]
            args = args[:place]
        return super().parse_args(ctx, args)


class LazyCommand(TyperCommand):
    """The name and help of a verb; its module is imported when it is called."""

    def __init__(self, name: str, help: str, module: str, function: str = "main") -> None:
        super().__init__(name, help=help)
        self._module, self._function = module, function

    def load(self) -> TyperCommand:
        module = import_module(f".verbs.{self._module}", __package__)
        return command(getattr(module, self._function), str(self.name), str(self.help))

    def make_context(self, info_name: Any, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return self.load().make_context(info_name, args, parent, **extra)


class Group(_ShortHelp, TyperGroup):
    """Verbs that share a name, such as `baseline`."""

    def __init__(self, name: str, help: str, *commands: TyperCommand | TyperGroup, **settings: Any) -> None:
        named: Any = {one.name: one for one in commands}
        super().__init__(name=name, help=help, commands=named, no_args_is_help=True, **settings)
