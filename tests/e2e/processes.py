"""Services as processes on loopback, their logs read line by line."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self


class Service:
    """`python -m <module>` with its settings; a block that ends stops it."""

    def __init__(self, module: str, **settings: object) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("ASHORE_")}
        given = {f"ASHORE_{name.upper()}": str(value) for name, value in settings.items()}
        self.lines: list[dict[str, Any]] = []
        self.url = ""
        self._listening = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            env={**environ, "ASHORE_HOST": "127.0.0.1", "ASHORE_PORT": "0", **given},
            stdout=subprocess.PIPE,
            text=True,
        )
        # A pipe that nobody reads would stop the service as soon as it is full.
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        self._listening.wait(20)
        assert self.url, f"it does not listen: {self.lines}"
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process.poll() is None:
            self.stop()

    def stop(self) -> int:
        """Tell it to stop; the answer is its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._reader.join()
        return code

    @property
    def memory(self) -> int:
        """Resident memory, MB."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024

    @property
    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as out:
            for text in out:
                self.lines.append(json.loads(text))
                if self.lines[-1]["event"] == "listening":
                    self.url = self.lines[-1]["url"]
                    self._listening.set()
        self._listening.set()
