"""Upgrades the firmware of one ONVIF camera; a container of a Kubernetes Job runs it as a broker.

__main__.py     a run as a process: its log, its report as the last line, its exit code
upgrade.py      the steps, in their order
verifying.py    the wait for the reboot, and the proof that it has helped
camera.py       the operations that the camera is asked for
soap.py         envelopes, written and read; pure
security.py     WS-Security's digest and HTTP's; pure
web.py          one exchange over HTTP, with every limit
image.py        the image, from a file or a URL, checked against its hash
notes.py        what is known of an upload that may be under way, from one run to the next
window.py       when it may happen; pure
credentials.py  whose user and password
settings.py     the environment, checked before anything is asked
outcomes.py     how a run can end: exit codes, and what to do next
"""
