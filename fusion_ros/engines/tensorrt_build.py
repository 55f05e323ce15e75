"""Builds a TensorRT engine in a process of its own, which can be ended at any moment.

TensorRT tries out implementations for minutes, in one call. It would stop that early for an
``IProgressMonitor``, but torch_tensorrt lets its caller set none. A process can be ended whatever it does; it also
gives back all the memory that a build takes, and a crash in the builder ends the build, not the robot's node.

:class:`Build` is the caller's side. Run as a module, this file is the other side: it reads
``program.pt2`` and ``job.json`` from the folder it is given, and writes ``engine``. It ends when its
standard input closes, so that it cannot outlive its caller.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from ..errors import EngineError
from ..files import write_atomically

__all__ = ["Build"]

log = logging.getLogger(__name__)

_PROGRAM, _JOB, _ENGINE, _LOG, _TIMING = "program.pt2", "job.json", "engine", "log", "timing.cache"
_REPORT_SECONDS = 30.0
_GRACE_SECONDS = 5.0
_PACKAGE_PARENT = Path(__file__).resolve().parents[2]


class Build:
    """One build of an engine.

    Args:
        program: The network as ``torch.export`` gives it, on the device, in the precision of the engine.
        device: The CUDA device, such as ``cuda:0``.
        timing_cache: File that keeps what TensorRT measured, for later builds, where it can be written.
        what: What is built, for the log.
    """

    def __init__(self, program: object, device: str, timing_cache: Path, what: str) -> None:
        self._program = program
        self._device = device
        self._timing_cache = timing_cache
        self._what = what
        self._process: subprocess.Popen[bytes] | None = None
        self._is_cancelled = False
        self._lock = threading.Lock()

    def run(self) -> bytes:
        """Build, and return the engine as TensorRT serialises it.

        Raises:
            EngineError: The build failed, or was cancelled.
        """
        from torch.export import save

        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="fusion_ros-tensorrt-") as name:  # for its owner alone
            folder = Path(name)
            save(self._program, folder / _PROGRAM)
            # A copy: TensorRT ends a finished build with an error where it cannot write what it measured.
            own_cache = folder / _TIMING
            with contextlib.suppress(OSError):
                shutil.copyfile(self._timing_cache, own_cache)
            (folder / _JOB).write_text(json.dumps({"device": self._device, "timing_cache": str(own_cache)}))
            with (folder / _LOG).open("wb") as errors:
                self._start([sys.executable, "-m", __name__, str(folder)], errors.fileno())
                try:
                    self._wait(start)
                finally:
                    self._end()  # also where Ctrl-C interrupted the wait
            engine = self._result(folder)
            self._keep_timing(own_cache)
            return engine

    def _keep_timing(self, own_cache: Path) -> None:
        try:
            self._timing_cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._timing_cache, own_cache.read_bytes())
        except OSError as error:
            log.debug("torch_tensorrt: %s was not kept: %s", self._timing_cache, error)

    def cancel(self) -> None:
        """End the build, from any thread; :meth:`run` then raises. Does nothing to one that is over."""
        with self._lock:
            self._is_cancelled = True
        self._end()

    def _start(self, command: list[str], errors: int) -> None:
        paths = [str(_PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with self._lock:  # a cancel comes before, and nothing is started, or after, and ends what was
            if self._is_cancelled:
                raise EngineError(f"the build of {self._what} was cancelled")
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                env=environment,
                start_new_session=True,  # Ctrl-C in a terminal reaches the caller, who decides
            )

    def _wait(self, start: float) -> None:
        assert self._process is not None
        while True:
            try:
                self._process.wait(_REPORT_SECONDS)
                return
            except subprocess.TimeoutExpired:
                log.info("torch_tensorrt: still building %s, %.0f s so far", self._what, time.monotonic() - start)

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def _result(self, folder: Path) -> bytes:
        if self._is_cancelled:
            raise EngineError(f"the build of {self._what} was cancelled")
        assert self._process is not None
        engine = folder / _ENGINE
        if self._process.returncode != 0 or not engine.is_file():
            lines = (folder / _LOG).read_text(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"it ended with exit status {self._process.returncode}"
            log.debug("torch_tensorrt: log of the failed build:\n%s", "\n".join(lines))
            raise EngineError(f"TensorRT could not build {self._what}: {reason}")
        return engine.read_bytes()


def _build(folder: Path) -> bytes:
    """Do the job in ``folder`` and return the engine."""
    import torch
    import torch_tensorrt

    job = json.loads((folder / _JOB).read_text())
    program = torch.export.load(folder / _PROGRAM)  # written by our caller, in a folder of its own
    images, _ = program.example_inputs
    return torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine(
        program,
        arg_inputs=list(images),
        device=torch.device(job["device"]),
        disable_tf32=True,  # where float32 was asked for, it is meant
        timing_cache_path=job["timing_cache"],
    )


def _end_with_caller() -> None:
    os.read(sys.stdin.fileno(), 1)  # not by sys.stdin, whose lock would be held while the interpreter ends
    os._exit(1)


def main() -> None:
    """Build what the folder named on the command line asks for."""
    folder = Path(sys.argv[1])
    threading.Thread(target=_end_with_caller, daemon=True).start()
    engine = _build(folder)
    part = folder / f"{_ENGINE}.part"
    part.write_bytes(engine)
    part.replace(folder / _ENGINE)


if __name__ == "__main__":
    main()
