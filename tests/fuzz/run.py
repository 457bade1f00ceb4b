"""`python -m tests.fuzz.run [SECONDS] [NAME...]`: fuzz each reader of bytes from outside for so long, by default all.

atheris is kept below ASHORE_CACHE (~/.cache/ashore) as the peers of discovery are, apart from what we need, and so is
whatever it has found to be interesting: the next time goes on from there. Where it cannot be installed nothing is
fuzzed, and that is said. What makes a reader fail is written to a file, and told.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.discovery.peers import cache_of, make
from tests.fuzz.targets import BY_NAME, TARGETS

ATHERIS: Final = "3.0.0"
SECONDS: Final = 20
LONGEST_INPUT: Final = 16 * 1024
_SLOW_SECONDS: Final = 5
"""An input that takes longer is a mistake as well: whoever sends it keeps the agent from its work."""
_MOST_MEGABYTES: Final = 1024


def atheris() -> Path | None:
    """Where it is; None where it cannot be."""
    home = cache_of("fuzz") / f"atheris-{ATHERIS}-{sys.version_info.major}.{sys.version_info.minor}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    return home if make(home, [[*pip, "--target", ".", f"atheris=={ATHERIS}"]]) else None


def fuzz(name: str, seconds: int, modules: Path) -> bool:
    """Fuzz one target; whether all is well."""
    kept, failed = cache_of("fuzz") / "corpus" / name, cache_of("fuzz") / "failed" / name
    for folder in (kept, failed):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[BY_NAME[name]]):
        (kept / f"seed-{number}").write_bytes(seed)
    options = {
        "max_total_time": seconds,
        "max_len": LONGEST_INPUT,
        "timeout": _SLOW_SECONDS,
        "rss_limit_mb": _MOST_MEGABYTES,
        "artifact_prefix": f"{failed}/",
        "verbosity": 0,
        "print_final_stats": 1,
    }
    command = [sys.executable, "-m", "tests.fuzz.fuzzing", name, *(f"-{key}={value}" for key, value in options.items())]
    environment = {**os.environ, "PYTHONPATH": str(modules)}
    # What has failed before is tried first.
    found = subprocess.run(
        [*command, str(kept), str(failed)], env=environment, capture_output=True, text=True, check=False
    )
    runs = [line.split()[-1] for line in found.stderr.splitlines() if "number_of_executed_units" in line]
    print(f"{'well' if found.returncode == 0 else 'FAIL'}  {name:18} {runs[0] if runs else '?':>9} inputs", flush=True)
    if found.returncode:
        print((found.stdout + found.stderr)[-4000:], flush=True)
    return found.returncode == 0


def main(words: list[str]) -> int:
    """Fuzz; the answer is how many targets failed."""
    seconds = int(words.pop(0)) if words and words[0].isdigit() else SECONDS
    modules = atheris()
    if modules is None:
        print(f"there is no atheris {ATHERIS} for this Python and this machine, so nothing is fuzzed")
        return 0
    return sum(not fuzz(name, seconds, modules) for name in words or BY_NAME)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
