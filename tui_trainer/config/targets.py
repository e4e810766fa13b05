"""From the name of something pluggable to the thing itself, with errors that point into the user's code.

A target is a built-in name or an import path: `package.module:attribute`, or the same with dots only.
Importing runs the code that the config names; that is the user's own.
"""

from __future__ import annotations

import importlib
import inspect
import linecache
import sys
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import UserError
from tui_trainer.config.user_code import exception_text, raised, user_frame
from tui_trainer.config.user_modules import make_importable, remember_edits
from tui_trainer.config.wording import closest, did_you_mean, listed, printable, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import ModuleType


__all__ = ["call_target", "exception_text", "resolve_target", "user_frame"]


def resolve_target(
    target: str,
    *,
    builtins: Mapping[str, Callable[..., Any] | str],
    folder: Path,
    what: str,
    error: type[UserError],
) -> Any:
    """What `target` names: one of `builtins` (a text value `module:attr` is imported on use), or an import
    path.

    `folder` (the config's) and the working directory are importable. `what` is how messages call the thing,
    such as `model`. Raises `error` for names that do not exist and for modules that cannot be imported.
    """
    if target in builtins:
        found = builtins[target]
        return _Import(found, what, error).result() if isinstance(found, str) else found
    if not any(mark in target for mark in ":./\\"):
        guess = did_you_mean(target, builtins)
        choice = f" Built in: {listed(sorted(builtins))}." if builtins else ""
        raise error(
            f"There is no built-in {what} {shown(target)}{guess or '.'}{choice} Your own is given as "
            "package.module:name."
        )
    make_importable(folder, target.partition(":")[0])
    try:
        return _Import(target, what, error, folder).result()
    finally:
        remember_edits(folder)


def call_target(
    target: Callable[..., Any], kwargs: Mapping[str, Any], *, what: str, error: type[UserError]
) -> Any:
    """`target(**kwargs)`; its exceptions become `error`, naming the line of the user's code where they arose.

    `what` is how messages call the target, such as `model mlp`. A UserError raised inside passes as it is.
    """
    try:
        return target(**kwargs)
    except UserError:
        raise
    except (Exception, SystemExit) as problem:
        mistake = _argument_mistake(target, kwargs) if isinstance(problem, TypeError) else None
        raise error(f"{_capital(what)} {mistake or 'cannot be built: ' + raised(problem)}.") from problem


def _argument_mistake(target: Callable[..., Any], kwargs: Mapping[str, Any]) -> str | None:
    """How `kwargs` do not fit the signature of `target`; None when they do, or when it tells no signature."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return None
    parameters = signature.parameters
    named = [
        name
        for name, item in parameters.items()
        if item.kind in {item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY}
    ]
    takes_any = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
    takes = f"It takes ({', '.join(_parameter(item) for item in parameters.values())})"
    for name in kwargs:
        if name not in named and not takes_any:
            return f"has no argument {shown(name)}{did_you_mean(name, named) or '.'} {takes}"
    missing = [
        name for name in named if parameters[name].default is inspect.Parameter.empty and name not in kwargs
    ]
    if missing:
        return f"needs the argument{'s' if len(missing) > 1 else ''} {listed(missing)} under args. {takes}"
    return None


def _parameter(item: inspect.Parameter) -> str:
    stars = "*" if item.kind is item.VAR_POSITIONAL else "**" if item.kind is item.VAR_KEYWORD else ""
    return f"{stars}{item.name}" + ("" if item.default is item.empty else f"={shown(item.default, 30)}")


class _Import:
    """One import path on its way to an object."""

    def __init__(self, target: str, what: str, error: type[UserError], folder: Path | None = None) -> None:
        self.target = target
        self.error = error
        self.folder = folder
        self.subject = f"{_capital(what)} {shown(target)}"

    def result(self) -> Any:
        module_name, colon, attributes = self.target.partition(":")
        if "/" in module_name or "\\" in module_name or module_name.endswith(".py"):
            dotted = module_name.removesuffix(".py").replace("\\", "/").strip("./").replace("/", ".")
            raise self.error(
                f"{self.subject} is a file path; write it as an import path: "
                f"{printable(dotted)}:{printable(attributes) or 'name'}."
            )
        parts = module_name.split(".") + (attributes.split(".") if colon else [])
        if len(parts) < 2 or not all(part.isidentifier() for part in parts):
            raise self.error(f"{self.subject} is no import path; it must look like package.module:name.")
        lengths = [module_name.count(".") + 1] if colon else range(len(parts) - 1, 0, -1)
        for length in lengths:
            module = self.module(".".join(parts[:length]))
            if module is not None:
                return self.attribute(module, parts[length:])
        raise self.error(f"{self.subject} cannot be imported: {self.not_found(parts[0], module_name)}")

    def module(self, name: str) -> ModuleType | None:
        """The module; None where there is none of that name. Raises when importing it fails."""
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as problem:
            if problem.name and f"{name}.".startswith(f"{problem.name}."):
                return None
            raise self.failed(problem, name) from problem
        except KeyboardInterrupt as problem:
            if not _is_raised_by_statement(problem):
                raise
            raise self.failed(problem, name) from problem
        except (Exception, SystemExit) as problem:
            raise self.failed(problem, name) from problem

    def failed(self, problem: BaseException, module: str) -> UserError:
        hint = ""
        if isinstance(problem, ModuleNotFoundError) and problem.name:
            missing = problem.name.partition(".")[0]
            hint = f" Install {missing} where this program runs, or mend the import."
        return self.error(f"{self.subject}: importing {module} failed: {raised(problem)}.{hint}")

    def not_found(self, top: str, module: str) -> str:
        if top in sys.modules or top != module.partition(".")[0]:
            where = getattr(sys.modules.get(top), "__file__", None)
            return f"{top}{f' ({where})' if where else ''} holds no module {module.removeprefix(top + '.')}."
        places = [str(self.folder)] if self.folder else []
        beside = [path.stem for path in self.folder.glob("*.py")] if self.folder else []
        guess = closest(top, beside)
        return (
            f"there is no module {top} in {listed([*places, 'the working directory'])}, and none is installed"
            + (f"; did you mean {guess}?" if guess else ".")
        )

    def attribute(self, module: ModuleType, names: list[str]) -> Any:
        found: Any = module
        for position, name in enumerate(names):
            try:
                found = getattr(found, name)
            except AttributeError as problem:
                holder = ".".join([module.__name__, *names[:position]])
                public = [item for item in dir(found) if not item.startswith("_")]
                where = f" ({module.__file__})" if getattr(module, "__file__", None) else ""
                guess = did_you_mean(name, public) or (f"; it has {listed(public[:8])}." if public else ".")
                raise self.error(f"{self.subject}: {holder}{where} has no {shown(name)}{guess}") from problem
            except Exception as problem:  # a module's own __getattr__
                raise self.failed(problem, module.__name__) from problem
        return found


def _is_raised_by_statement(problem: BaseException) -> bool:
    """Whether a `raise` in the module is where the exception began, rather than Ctrl-C while it was
    imported."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    return linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno).lstrip().startswith("raise")


def _capital(what: str) -> str:
    return what[:1].upper() + what[1:]
