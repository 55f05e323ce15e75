"""Set up ``.venv`` for a command of the Makefile; a second run finds everything in place.

Needs only the standard library, and parses on Python 3.6, so that an old interpreter gets a
sentence instead of a syntax error.

Two routes:

- plain Debian or Ubuntu: everything from wheels, ROS 2 Jazzy's included;
- a sourced ROS 2 distribution (``ROS_DISTRO`` set): the distribution's own rclpy, messages, NumPy
  and OpenCV, seen through a venv with system site packages; only the rest is installed.
"""

from __future__ import print_function

import hashlib
import importlib.util
import os
import platform
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REQUIREMENTS = os.path.join(ROOT, "requirements")
GROUPS = ("demo", "test")  # each holds the one before it
OLDEST, NEWEST = (3, 10), (3, 14)
# What a distribution brings itself; a second copy from a wheel would not fit its compiled messages.
# By requirement: the module, and the distribution's package.
FROM_DISTRIBUTION = {
    "numpy": ("numpy", "python3-numpy"),
    "opencv-python-headless": ("cv2", "python3-opencv"),
    "pyyaml": ("yaml", "python3-yaml"),
    "scipy": ("scipy", "python3-scipy"),
}


def main(argv):
    """Create or complete the environment; return the exit code."""
    if len(argv) != 3 or argv[2] not in GROUPS:
        print("usage: bootstrap.py VENV GROUP, where GROUP is demo or test", file=sys.stderr)
        return 2
    venv, group = argv[1], argv[2]
    distribution = os.environ.get("ROS_DISTRO", "")
    problem = unsupported(sys.version_info[:2], distribution, platform.machine()) or missing_venv()
    if distribution and not problem:
        problem = missing_from_distribution(distribution)
    if problem:
        print("error: " + problem, file=sys.stderr)
        return 1
    for larger in GROUPS[GROUPS.index(group) :]:
        if is_installed(venv, larger, distribution):
            return 0
    return install(venv, group, distribution)


def is_installed(venv, group, distribution):
    """Tell whether a group was installed just as it is described now."""
    stamp = stamp_file(venv, group)
    return os.path.exists(stamp) and read(stamp) == fingerprint(group, distribution)


def stamp_file(venv, group):
    """Return the file that says what was installed."""
    return os.path.join(venv, "installed-" + group)


def unsupported(version, distribution, machine="x86_64"):
    """Return one line on why this Python cannot be used, or an empty string."""
    spelled = "{}.{}".format(*version)
    way_out = "install one of Python 3.10 to 3.14 and say: make PYTHON=python3.12 ..."
    if version < OLDEST:
        return "Python 3.10 or newer is needed, this is {}; {}".format(spelled, way_out)
    if not distribution and version > NEWEST:
        return "there are no ROS 2 wheels for Python {}; {} - or source a ROS 2 distribution first".format(
            spelled, way_out
        )
    if not distribution and machine not in ("x86_64", "AMD64"):
        return "there are no ROS 2 wheels for {} processors; source a ROS 2 distribution first".format(machine)
    return ""


def missing_venv():
    """Return one line on what venv lacks, or an empty string."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return "this Python has no venv module; on Debian and Ubuntu: apt install python3-venv"
    return ""


def missing_from_distribution(distribution):
    """Return one line on what a sourced distribution was installed without, or an empty string."""
    packages = FROM_DISTRIBUTION.values()
    missing = [package for module, package in packages if importlib.util.find_spec(module) is None]
    if not missing:
        return ""
    return "ROS 2 {} was installed without {}; say: sudo apt install {}".format(
        distribution, ", ".join(missing), " ".join(missing)
    )


def requirement_files(group, distribution):
    """Return the pinned requirement files of a group, ROS wheels only where no distribution is sourced."""
    names = ["runtime.txt"]
    if not distribution:
        names += ["ros-jazzy.txt"]
    if group == "test":
        names += ["test.txt"]
    return [os.path.join(REQUIREMENTS, name) for name in names]


def fingerprint(group, distribution):
    """Return a text that changes whenever something else would be installed."""
    digest = hashlib.sha256((distribution + sys.version).encode())
    for name in [*requirement_files(group, distribution), os.path.join(REQUIREMENTS, "constraints.txt")]:
        digest.update(read(name).encode())
    return digest.hexdigest()


def install(venv, group, distribution):
    """Create the environment and install a group's pinned requirements into it."""
    print("setting up {} (once)".format(os.path.relpath(venv, ROOT)), flush=True)
    python = os.path.join(venv, "bin", "python")
    if not create(venv, distribution):
        print("error: could not create {}".format(venv), file=sys.stderr)
        return 1
    files = requirement_files(group, distribution)
    lines = [line for name in files for line in read(name).splitlines()]
    if distribution:
        lines = [line for line in lines if requirement_name(line) not in FROM_DISTRIBUTION]
    chosen = os.path.join(venv, "requirements.txt")
    with open(chosen, "w") as file:
        file.write("\n".join(lines) + "\n")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not distribution:
        pip += ["-c", os.path.join(REQUIREMENTS, "constraints.txt")]
    own_commands = ["--no-deps", "--editable", ROOT]
    for wanted in (["-r", chosen], own_commands):
        if subprocess.call([*pip, *wanted]) != 0:
            print("error: pip could not install {}; see its message above".format(wanted[-1]), file=sys.stderr)
            return 1
    with open(stamp_file(venv, group), "w") as file:
        file.write(fingerprint(group, distribution))
    return 0


def create(venv, distribution):
    """Create the environment, anew where the one that is there follows the other route or another Python."""
    route = os.path.join(venv, "route")
    wanted = "{} {}".format(distribution or "wheels", sys.version)
    if os.path.exists(route) and read(route) == wanted:
        return True
    options = ["--system-site-packages"] if distribution else []
    if subprocess.call([sys.executable, "-m", "venv", "--clear", *options, venv]) != 0:
        return False
    with open(route, "w") as file:
        file.write(wanted)
    return True


def requirement_name(line):
    """Return the project name of a requirement line, in lower case."""
    return line.split("==")[0].split("[")[0].strip().lower()


def read(path):
    """Return a text file's contents."""
    with open(path) as file:
        return file.read()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
