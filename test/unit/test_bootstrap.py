"""Setting up: who is turned away, with which sentence, and what is installed where."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys

import pytest


@pytest.fixture
def bootstrap(repository):
    spec = importlib.util.spec_from_file_location("bootstrap", repository / "tools" / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_parses_on_interpreters_that_it_turns_away(repository):
    tree = ast.parse((repository / "tools" / "bootstrap.py").read_text(), feature_version=(3, 6))
    assert tree.body


@pytest.mark.parametrize("version", [(3, 10), (3, 12), (3, 14)])
def test_supported_pythons_are_let_in(bootstrap, version):
    assert bootstrap.unsupported(version, "") == ""


@pytest.mark.parametrize("version", [(3, 8), (3, 9), (3, 15)])
def test_other_pythons_get_one_line_with_a_way_out(bootstrap, version):
    line = bootstrap.unsupported(version, "")
    assert "\n" not in line
    assert "{}.{}".format(*version) in line
    assert "make PYTHON=" in line


def test_a_distribution_may_bring_a_python_that_has_no_wheels(bootstrap):
    assert bootstrap.unsupported((3, 15), "lyrical") == ""
    assert bootstrap.unsupported((3, 8), "foxy") != ""


def test_a_processor_without_wheels_gets_one_line_with_a_way_out(bootstrap):
    line = bootstrap.unsupported((3, 12), "", "aarch64")
    assert "aarch64" in line
    assert "source a ROS 2 distribution" in line
    assert "\n" not in line
    assert bootstrap.unsupported((3, 12), "jazzy", "aarch64") == ""


def test_a_python_without_venv_is_told_what_to_install(bootstrap, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert "apt install python3-venv" in bootstrap.missing_venv()


def test_a_sourced_distribution_is_used_instead_of_the_wheels(bootstrap):
    plain = [name.rsplit("/", 1)[-1] for name in bootstrap.requirement_files("test", "")]
    sourced = [name.rsplit("/", 1)[-1] for name in bootstrap.requirement_files("test", "jazzy")]
    assert plain == ["runtime.txt", "ros-jazzy.txt", "test.txt"]
    assert sourced == ["runtime.txt", "test.txt"]


def test_a_sourced_distribution_keeps_its_numpy_and_opencv(bootstrap, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(bootstrap.subprocess, "call", lambda command: calls.append(command) or 0)
    (tmp_path / "venv").mkdir()
    assert bootstrap.install(str(tmp_path / "venv"), "demo", "humble") == 0
    assert "--system-site-packages" in calls[0]
    wanted = (tmp_path / "venv" / "requirements.txt").read_text()
    assert "torch==" in wanted
    assert "numpy" not in wanted
    assert "opencv" not in wanted
    assert "ros-" not in wanted


def test_a_distribution_without_scipy_is_told_what_to_install(bootstrap, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(bootstrap.FROM_DISTRIBUTION, "scipy", ("surely_not_there", "python3-scipy"))
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    assert bootstrap.main(["bootstrap.py", str(tmp_path / "venv"), "demo"]) == 1
    assert "sudo apt install python3-scipy" in capsys.readouterr().err
    monkeypatch.setitem(bootstrap.FROM_DISTRIBUTION, "scipy", ("scipy", "python3-scipy"))
    assert bootstrap.missing_from_distribution("jazzy") == ""


def test_a_second_run_installs_nothing(bootstrap, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(bootstrap.subprocess, "call", lambda command: calls.append(command) or 0)
    (tmp_path / "venv").mkdir()
    arguments = ["bootstrap.py", str(tmp_path / "venv"), "demo"]
    assert bootstrap.main(arguments) == 0
    assert calls
    calls.clear()
    assert bootstrap.main(arguments) == 0
    assert not calls


def test_another_route_or_python_makes_the_environment_anew(bootstrap, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(bootstrap.subprocess, "call", lambda command: calls.append(command) or 0)
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").touch()

    def made_anew() -> bool:
        return any("--clear" in command for command in calls)

    monkeypatch.delenv("ROS_DISTRO", raising=False)
    assert bootstrap.main(["bootstrap.py", str(venv), "demo"]) == 0
    assert made_anew()
    calls.clear()
    assert bootstrap.main(["bootstrap.py", str(venv), "test"]) == 0
    assert calls
    assert not made_anew()
    calls.clear()
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    assert bootstrap.main(["bootstrap.py", str(venv), "test"]) == 0
    assert made_anew()
    assert any("--system-site-packages" in command for command in calls)


def test_the_demo_needs_nothing_more_after_the_tests(bootstrap, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(bootstrap.subprocess, "call", lambda command: calls.append(command) or 0)
    (tmp_path / "venv").mkdir()
    assert bootstrap.main(["bootstrap.py", str(tmp_path / "venv"), "test"]) == 0
    calls.clear()
    assert bootstrap.main(["bootstrap.py", str(tmp_path / "venv"), "demo"]) == 0
    assert not calls


def test_an_old_interpreter_gets_the_sentence_not_a_traceback(repository):
    fake = "import sys, runpy; sys.version_info = (3, 8, 0); sys.argv = ['bootstrap.py', 'x', 'demo']; "
    run = f"{fake}runpy.run_path({str(repository / 'tools' / 'bootstrap.py')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    assert "Python 3.10 or newer is needed" in done.stderr


def test_every_requirement_is_pinned(repository):
    for file in (repository / "requirements").glob("*.txt"):
        for line in file.read_text().splitlines():
            assert line.startswith("#") or "==" in line, f"{file.name}: {line}"
