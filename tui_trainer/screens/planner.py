"""Makes a plan: holds the config that is edited and its gate, checks on threads of its own, hands on immutable views."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import replace
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from tui_trainer.config.errors import ConfigError, UserError
from tui_trainer.config.wording import class_name, printable
from tui_trainer.screens.plan_view import FILE, PlanView
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tui_trainer.config.loading import LoadedConfig
    from tui_trainer.config.schema import Config
    from tui_trainer.phases.gate import Checklist
    from tui_trainer.session.protocol import RunHandle

TEMPLATES = ("baseline", "tuning", "production")
OWN = ("name", "data", "model", "loss", "metrics", "targets", "gates", "notify", "remote")
"""What a template leaves as it is: it is about how to train, not what."""


class Gate(Protocol):
    """What a planner asks of `phases.plan.PlanGate`."""

    blocked: str | None
    diagnostics: list[Mapping[str, Any]]

    @property
    def trouble(self) -> str | None: ...
    def look(self) -> Checklist: ...
    def run(self) -> Checklist: ...
    def preview(self) -> None: ...
    def sign(self, name: str, note: str) -> Checklist: ...
    def waive(self, name: str, reason: str) -> Checklist: ...
    def cancel(self) -> None: ...


class Planner:
    """A plan and its gate.

    `load` reads the config, `begin` starts a run by one; both may take long and are called on other threads. `gate`
    makes the gate of a config. `on_change` is told, on any thread, that there is a newer `view`; `on_failure` that the
    config could not be read.
    """

    def __init__(
        self,
        load: Callable[[], LoadedConfig],
        begin: Callable[[LoadedConfig], RunHandle],
        *,
        name: str = "",
        gate: Callable[..., Gate] | None = None,
    ) -> None:
        self.view = PlanView(name=name)
        self.on_change: Callable[[], None] = lambda: None
        self.on_failure: Callable[[BaseException], None] = lambda _: None
        self._load, self._begin, self._make_gate = load, begin, gate or _plan_gate
        self._lock = threading.RLock()
        self._gate: Gate | None = None
        self._round = 0
        self._began = False
        self._file_text = self._saved_text = ""

    # ── reading and checking ────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Read the config and look at its gate, once, and check what is open."""
        if not self._began:
            self._began = True
            threading.Thread(target=self._open, name="plan", daemon=True).start()

    def _open(self) -> None:
        try:
            loaded = self._load()
            from tui_trainer.config.loading import parse_config
            from tui_trainer.config.patching import patched_text

            template = parse_config(loaded.text) if loaded.text else loaded.config
            text = patched_text(loaded.text, loaded.config) if loaded.text else ""
            self._file_text, self._saved_text = loaded.text, text
            gate, number = self._take(
                replace(loaded, text=text), template=template, checking=not self.view.read_only
            )
        except BaseException as error:  # whatever it was: the app leaves and says it
            self.on_failure(error)
            return
        if not self.view.read_only:  # else a run trains already: nothing is checked beside it
            self._check(gate, number)

    def check(self) -> None:
        """Check what is open, on a thread of its own; what is under way already goes on."""
        with self._lock:
            if self.view.checking or self.view.read_only or self.view.loaded is None:
                return
            gate, number = self._new_gate(self.view.loaded), self._round
            self._tell(checking=True, error=None, checklist=gate.look(), diagnostics=())
        threading.Thread(target=self._check, args=(gate, number), name="plan-gate", daemon=True).start()

    def _new_gate(self, loaded: LoadedConfig) -> Gate:
        """Under the lock; the gate of before ends."""
        with self._lock:
            if self._gate is not None:
                self._gate.cancel()
            self._round += 1
            number = self._round
            self._gate = self._make_gate(
                loaded,
                on_change=lambda checklist, busy: self._tell_of(number, checklist=checklist, busy=busy),
                on_message=lambda message: self._heard(number, message),
            )
            return self._gate

    def _check(self, gate: Gate, number: int) -> None:
        error: str | None = None
        try:
            gate.run()
            error = gate.blocked
            if error is None and "model" not in self.view.messages and self._round == number:
                gate.preview()  # it was earned before: data and model are for the eye alone
        except UserError as problem:
            error = str(problem)
        except Exception as problem:  # of the machine: no process, no memory
            error = (
                f"The checks could not be made: {class_name(type(problem))}: {clean_text(problem, limit=300)}"
            )
        self._tell_of(
            number,
            checking=False,
            busy=frozenset(),
            error=error,
            trouble=gate.trouble,
            outdated=error is not None,
        )

    def _heard(self, number: int, message: Mapping[str, Any]) -> None:
        if message["kind"] == "diagnostic":
            self._tell_of(number, diagnostics=(*self.view.diagnostics, message))
        elif message["kind"] in ("data", "model", "platform"):
            messages = MappingProxyType({**self.view.messages, message["kind"]: message})
            self._tell_of(number, messages=messages, outdated=False)

    def _tell_of(self, number: int, **changes: Any) -> None:
        with self._lock:
            if number == self._round:  # else: of a config that is no more
                self._tell(**changes)

    def _tell(self, **changes: Any) -> None:
        with self._lock:
            self.view = replace(self.view, **changes)
        self.on_change()

    # ── editing ─────────────────────────────────────────────────────────────────────────────────────────────

    def problem(self, key: str, text: str) -> str | None:
        """What is wrong with `text` as the value of a setting; None where it can be taken."""
        try:
            self._with(key, text)
        except ConfigError as error:
            return str(error)
        return None

    def edit(self, key: str, text: str) -> str | None:
        """Give a setting another value; returns what is wrong with it."""
        try:
            config = self._with(key, text)
        except ConfigError as error:
            return str(error)
        self._change(config)
        return None

    def _with(self, key: str, text: str) -> Config:
        from tui_trainer.config.loading import change_config

        assert self.view.loaded is not None
        given = f"{key}={text}"
        try:
            return change_config(self.view.loaded.config, [given])
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"--set {printable(given, 80)}: ", "")) from None

    def put_back(self, key: str) -> None:
        """Give a setting the template's value again."""
        from tui_trainer.screens.plan_form import field_value, value_text

        if self.view.template is not None:
            self.edit(key, value_text(field_value(self.view.template, key)))

    def take_text(self, text: str) -> str | None:
        """Take a whole config as YAML; returns what is wrong with it."""
        from tui_trainer.config.loading import parse_config

        loaded = self.view.loaded
        if loaded is None or text == loaded.text:
            return None
        try:
            config = parse_config(text, source="YAML")
        except ConfigError as error:
            return str(error)
        self._take(replace(loaded, config=config, text=text))
        return None

    def use_template(self, name: str) -> None:
        """Begin with a template's settings, the project's own data and model kept; or with the file as it is."""
        from tui_trainer.config.loading import parse_config
        from tui_trainer.config.patching import patched_text

        loaded = self.view.loaded
        if loaded is None:
            return
        if name == FILE:
            text = self._file_text
            self._take(
                replace(loaded, config=parse_config(text), text=text),
                template=parse_config(text),
                called=FILE,
            )
            return
        file = resources.files("tui_trainer") / "configs" / f"{name}_template.yaml"
        text = file.read_text(encoding="utf-8")
        template = parse_config(text)
        own = {key: value for key, value in loaded.config.model_dump(by_alias=True).items() if key in OWN}
        config = parse_config(template.model_dump(by_alias=True) | own)
        changed = replace(loaded, config=config, text=patched_text(text, config))
        self._take(changed, template=template, called=f"the {name} template")

    def carry(self, changes: Mapping[str, Mapping[str, Any]]) -> str | None:
        """Plan the next run with other settings (`to`, by key), all of them or none; returns what is wrong with them.

        The plan of a run that is over can be changed again from here on.
        """
        from tui_trainer.config.loading import change_config

        loaded = self.view.loaded
        if loaded is None:
            return "The config of the plan has not been read."
        if self.view.run == "live":
            return "A run goes by the plan: it can be changed when that is over."
        given = [f"{key}={json.dumps(change['to'])}" for key, change in changes.items()]
        try:
            config = change_config(loaded.config, given)
        except ConfigError as error:
            return str(error)
        if self.view.run == "over":
            self._tell(run="none")
        self._change(config)
        self.check()
        return None

    def _change(self, config: Config) -> None:
        from tui_trainer.config.patching import patched_text

        loaded = self.view.loaded
        if loaded is not None and config != loaded.config:
            self._take(replace(loaded, config=config, text=patched_text(loaded.text, config)))

    def _take(
        self,
        loaded: LoadedConfig,
        *,
        template: Config | None = None,
        called: str | None = None,
        checking: bool = False,
    ) -> tuple[Gate, int]:
        """Plan with another config: whatever rested on the old one is open again at once. Returns its gate, and which
        round of checks it belongs to. `checking`: the caller checks it now."""
        with self._lock:
            before = self.view.loaded
            gate, number = self._new_gate(loaded), self._round
            self._tell(
                loaded=loaded,
                name=clean_text(loaded.config.name, limit=200),
                template=template or self.view.template,
                template_name=called or self.view.template_name,
                checklist=gate.look(),
                busy=frozenset(),
                checking=checking,
                error=None,
                outdated=before is not None,
                unsaved=loaded.text != self._saved_text,
            )
            return gate, number

    @property
    def default_file(self) -> Path | None:
        """Where `save` writes to without being told; None where it must be told."""
        loaded = self.view.loaded
        if loaded is None or loaded.path is None or loaded.path.resolve().parent != loaded.folder.resolve():
            return None
        return loaded.path

    def overwrites(self, path: Path) -> bool:
        """Whether `save` would undo what somebody else wrote into the file meanwhile."""
        try:
            return path.read_text(encoding="utf-8-sig") not in (
                self._file_text,
                self.view.loaded and self.view.loaded.text,
            )
        except (OSError, ValueError):
            return False

    def save(self, path: Path) -> str | None:
        """Write the config; returns why that failed."""
        from tui_trainer.engine.manifest import write_atomically

        loaded = self.view.loaded
        if loaded is None:
            return "There is no config yet."
        try:
            write_atomically(path, loaded.text)
        except OSError as error:
            return f"{path} cannot be written ({error.strerror or error})."
        self._file_text = self._saved_text = loaded.text
        with self._lock:
            saved = replace(self.view.loaded or loaded, path=path)
            self._tell(loaded=saved, unsaved=False)
        return None

    # ── answering ───────────────────────────────────────────────────────────────────────────────────────────

    def sign(self, name: str, note: str) -> None:
        """Sign an item of the gate."""
        self._answer(lambda gate: gate.sign(name, note))

    def waive(self, name: str, reason: str) -> None:
        """Waive an item of the gate."""
        self._answer(lambda gate: gate.waive(name, reason))

    def _answer(self, give: Callable[[Gate], Checklist]) -> None:
        gate = self._gate
        if gate is not None and not self.view.read_only:
            checklist = give(gate)  # without our lock: the gate's own thread may wait for it
            self._tell(checklist=checklist, trouble=gate.trouble)

    def begin(self) -> Callable[[], RunHandle]:
        """What starts the run that was planned; from here on the plan is only looked at."""
        view = self.view
        assert view.loaded is not None
        assert view.checklist is not None
        loaded = view.loaded if view.trouble is None else _with_answers(view.loaded, view.checklist)
        self.run_is("live")
        return lambda: self._begin(loaded)

    def refused(self, why: str | None) -> None:
        """The run could not be begun: the plan can be changed again."""
        self._tell(run="none", error=why)
        if why is None:
            self.check()

    def run_is(self, state: str) -> None:
        """What became of the run: "live" or "over"; checks that are under way end."""
        with self._lock:
            if self._gate is not None:
                self._gate.cancel()
            self._round += 1
            self._tell(run=state, checking=False, busy=frozenset())

    def close(self) -> None:
        """End what is under way."""
        with self._lock:
            self._round += 1
            if self._gate is not None:
                with contextlib.suppress(OSError):
                    self._gate.cancel()


def _with_answers(loaded: LoadedConfig, checklist: Checklist) -> LoadedConfig:
    """The config with what people answered for: where no file could keep it."""
    from tui_trainer.config.schema import GatesConfig

    given: dict[str, dict[str, str]] = {"signed": {}, "waived": {}}
    for entry in checklist.entries:
        if entry.finding.state in given and entry.reason:
            given[entry.finding.state][entry.item.name] = entry.reason
    gates = loaded.config.gates
    answers = GatesConfig(sign=gates.sign | given["signed"], waive=gates.waive | given["waived"])
    return replace(loaded, config=loaded.config.model_copy(update={"gates": answers}))


def _plan_gate(loaded: LoadedConfig, **listeners: Any) -> Gate:
    from tui_trainer.phases.plan import PlanGate

    return PlanGate(loaded, **listeners)
