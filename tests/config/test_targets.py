"""Targets: built-in names and import paths, with errors that point into the user's code."""

from __future__ import annotations

import os
import sys
import textwrap
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest

from tui_trainer.config.errors import DataError, ModelError, UserError
from tui_trainer.config.targets import call_target, resolve_target, user_frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUILTINS: dict[str, Any] = {
    "mlp": dict,
    "cnn": "collections:OrderedDict",
    "absent": "not_installed_anywhere:Net",
}


@pytest.fixture(autouse=True)
def _clean_imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("user_"):
            del sys.modules[name]


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(textwrap.dedent(text))


def resolve(target: str, folder: Path) -> Any:
    return resolve_target(target, builtins=BUILTINS, folder=folder, what="model", error=ModelError)


def failure(target: str, folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        resolve(target, folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_built_in_names_win_and_are_imported_on_use(tmp_path: Path) -> None:
    assert resolve("mlp", tmp_path) is dict
    assert resolve("cnn", tmp_path) is OrderedDict
    assert "none is installed" in failure("absent", tmp_path)


def test_an_unknown_name_gets_a_guess_and_the_list(tmp_path: Path) -> None:
    message = failure("mpl", tmp_path)
    assert "There is no built-in model 'mpl'; did you mean mlp?" in message
    assert "absent, cnn and mlp" in message


def test_the_config_folder_and_the_working_directory_can_be_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, here = tmp_path / "project", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    write(folder, "user_a.py", "class Net:\n    class Part: pass\n")
    write(here, "user_b.py", "class Net: pass\n")
    assert resolve("user_a:Net", folder).__name__ == "Net"
    assert resolve("user_a:Net.Part", folder) is resolve("user_a.Net.Part", folder)
    assert resolve("user_b.Net", folder).__module__ == "user_b"
    resolve("user_a:Net", folder)
    assert sys.path.count(str(folder)) == 1
    assert sys.path[:2] == [str(folder), str(here)]


def test_packages_and_installed_libraries_work_with_dots_only(tmp_path: Path) -> None:
    (tmp_path / "user_pkg").mkdir()
    write(tmp_path / "user_pkg", "__init__.py", "")
    write(tmp_path / "user_pkg", "nets.py", "class Net: pass\n")
    assert resolve("user_pkg.nets.Net", tmp_path).__name__ == "Net"
    assert resolve("collections.OrderedDict.fromkeys", tmp_path) == OrderedDict.fromkeys


def test_two_projects_may_have_modules_of_the_same_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "user_same.py", f"VALUE = '{name}'\n")
    assert resolve("user_same:VALUE", tmp_path / "one") == "one"
    assert resolve("user_same:VALUE", tmp_path / "two") == "two"
    assert resolve("user_same:VALUE", tmp_path / "one") == "one"


def test_an_edited_module_is_imported_anew(tmp_path: Path) -> None:
    write(tmp_path, "user_edit.py", "import user_part\nVALUE = user_part.VALUE\n")
    write(tmp_path, "user_part.py", "VALUE = 'old'\n")
    first = resolve("user_edit:VALUE", tmp_path)
    write(tmp_path, "user_part.py", "VALUE = 'newer'\n")
    os.utime(tmp_path / "user_part.py", ns=(10**18, 10**18))
    assert (first, resolve("user_edit:VALUE", tmp_path)) == ("old", "newer")


def test_an_unedited_module_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "user_kept.py", "class Net: pass\n")
    assert resolve("user_kept:Net", tmp_path) is resolve("user_kept:Net", tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("x = 1\nimport no_such_module_zz\n", "user_m.py:2 raised ModuleNotFoundError"),
        ("x = (\n", "user_m.py:1 raised SyntaxError: '(' was never closed"),
        ("\n\n1 / 0\n", "user_m.py:3 raised ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "user_m.py:2 raised SystemExit"),
        ("raise KeyboardInterrupt\n", "user_m.py:1 raised KeyboardInterrupt"),
        (
            "def f():\n    raise ValueError('a\\x1b[31mb\\nc')\nf()\n",
            "user_m.py:2 in f raised ValueError: a?[31mb c",
        ),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E\n", "user_m.py:3 raised E"),
        ("raise ValueError('x' * 5000)\n", "xxx…"),
    ],
)
def test_a_module_that_fails_is_named_with_its_line(tmp_path: Path, content: str, expected: str) -> None:
    write(tmp_path, "user_m.py", content)
    message = failure("user_m:Net", tmp_path)
    assert "'user_m:Net': importing user_m failed" in message
    assert expected in message
    assert len(message) < 800


def test_the_cause_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "user_cause.py", "1 / 0\n")
    with pytest.raises(ModelError) as caught:
        resolve("user_cause:Net", tmp_path)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_ctrl_c_while_importing_is_no_error_of_the_module(tmp_path: Path) -> None:
    write(tmp_path, "user_slow.py", "import signal\nsignal.raise_signal(signal.SIGINT)\n")
    with pytest.raises(KeyboardInterrupt):
        resolve("user_slow:Net", tmp_path)


def test_missing_things_get_a_guess(tmp_path: Path) -> None:
    write(tmp_path, "user_names.py", "class Network: pass\n")
    assert "has no 'Netwrk'; did you mean Network?" in failure("user_names:Netwrk", tmp_path)
    assert "did you mean user_names?" in failure("user_name:Network", tmp_path)
    assert "holds no module sub" in failure("user_names.sub:Network", tmp_path)
    assert "write it as an import path: user_names:Network" in failure("user_names.py:Network", tmp_path)
    assert "write it as an import path: src.net:Network" in failure("./src/net.py:Network", tmp_path)


@pytest.mark.parametrize(
    "target", ["a:", ":a", "a b:c", "..", "a..b:c", "a:b:c", "1:2", "a.\0:b", "é:ß.", "x." * 200]
)
def test_nonsense_is_no_import_path(tmp_path: Path, target: str) -> None:
    assert failure(target, tmp_path)


def call(target: Any, **kwargs: Any) -> str:
    with pytest.raises(DataError) as caught:
        call_target(target, kwargs, what="data set mine", error=DataError)
    assert caught.value.__cause__ is not None
    return str(caught.value)


def make(path: str, size: int = 3) -> str:
    if size < 0:
        raise ValueError(f"size {size} is negative")
    if size == 0:
        raise UserError("said by the target itself")
    return path * size


def test_calling_returns_what_the_target_returns() -> None:
    assert call_target(make, {"path": "x"}, what="data set mine", error=DataError) == "xxx"


def test_wrong_arguments_show_the_signature() -> None:
    assert (
        call(make, pth="x")
        == "Data set mine has no argument 'pth'; did you mean path? It takes (path, size=3)."
    )
    assert call(make) == "Data set mine needs the argument path under args. It takes (path, size=3)."
    assert "cannot be built: TypeError" in call(int, base="x")


def test_exceptions_name_the_line_in_the_users_code() -> None:
    message = call(make, path="x", size=-1)
    assert "test_targets.py:" in message
    assert "in make raised ValueError: size -1 is negative" in message


def test_a_type_error_inside_is_not_taken_for_wrong_arguments() -> None:
    assert "in make raised TypeError" in call(make, path=None, size=2)


def test_errors_for_people_pass_unchanged() -> None:
    with pytest.raises(UserError, match="said by the target itself"):
        call_target(make, {"path": "x", "size": 0}, what="data set mine", error=DataError)


def test_the_users_own_frame_is_preferred_to_a_librarys() -> None:
    with pytest.raises((TypeError, AttributeError)) as caught:
        textwrap.dedent(3)  # type: ignore[arg-type]  # wrong on purpose
    assert (user_frame(caught.value) or "").endswith("in test_the_users_own_frame_is_preferred_to_a_librarys")
