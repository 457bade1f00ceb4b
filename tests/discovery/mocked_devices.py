"""`umockdev-wrapper python -m tests.discovery.mocked_devices`: a /sys with devices that are only described.

It prints the folder that programs under the same wrapper need as UMOCKDEV_DIR to see it. A line of JSON on standard
input is an order: `["add", DESCRIPTION]`, as `umockdev-record` writes it, or `["remove", SYSPATH]`; both make the same
events that udevd sends.
"""

import ctypes
import json
import os
import signal
import sys
from typing import Final

_LIBRARY: Final = "libumockdev.so.0"


class Error(ctypes.Structure):
    """GLib's."""

    _fields_ = (("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p))


class Testbed:
    """libumockdev's, of which only this much is wanted."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(_LIBRARY)
        self._library.umockdev_testbed_new.restype = ctypes.c_void_p
        self._library.umockdev_testbed_get_root_dir.restype = ctypes.c_char_p
        self._bed = ctypes.c_void_p(self._library.umockdev_testbed_new())

    @property
    def folder(self) -> str:
        return os.fsdecode(self._library.umockdev_testbed_get_root_dir(self._bed))

    def add(self, description: str) -> None:
        error = ctypes.POINTER(Error)()
        if not self._library.umockdev_testbed_add_from_string(self._bed, description.encode(), ctypes.byref(error)):
            raise ValueError(error.contents.message.decode())

    def remove(self, path: str) -> None:
        self._library.umockdev_testbed_uevent(self._bed, path.encode(), b"remove")
        self._library.umockdev_testbed_remove_device(self._bed, path.encode())

    def close(self) -> None:
        ctypes.CDLL("libgobject-2.0.so.0").g_object_unref(self._bed)


def main() -> None:
    bed = Testbed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        print(bed.folder, flush=True)
        for line in sys.stdin:
            verb, text = json.loads(line)
            {"add": bed.add, "remove": bed.remove}[verb](text)
    finally:
        bed.close()


if __name__ == "__main__":
    main()
