"""What a device tells its owner about itself: devmod, as far as this machine knows (FDO 1.1, section 3.8.3.2).

The list of modules is not among them: the conversation adds it.
"""

import os
import platform
import sys
import tempfile
from pathlib import Path

from ashore.fdo.serviceinfo.devmod import Devmod


def facts(serial: str, device_info: str, folder: Path, mud_url: str = "") -> Devmod:
    """The machine's facts; `folder` is where modules may put files."""
    machine = platform.machine()
    return Devmod(
        os=sys.platform,
        arch=machine,
        version=_version(),
        device=device_info,
        sn=serial,
        pathsep=os.sep,
        sep=os.pathsep,
        nl=os.linesep,
        tmp=_closed(tempfile.gettempdir()),
        dir=_closed(str(folder.absolute())),
        progenv="bin:sh:py3",
        bin=machine,
        mudurl=mud_url,
    )


def _version() -> str:
    """The distribution where it says so, else the kernel."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.release()
    return release.get("PRETTY_NAME") or platform.release()


def _closed(folder: str) -> str:
    """The standard wants the separator at the end."""
    return folder if folder.endswith(os.sep) else folder + os.sep
