"""What a kubelet writes about a Pod: pure functions from a Pod to its status."""

from typing import Any

Object = dict[str, Any]
LONG_AGO = "2026-01-01T00:00:00Z"
"""A time that is not looked at."""


def running(pod: Object) -> Object:
    """All containers run and are ready."""
    return _status(pod, "Running", ready="True", state={"running": {"startedAt": LONG_AGO}})


def unready(pod: Object) -> Object:
    """All containers run, and none is ready."""
    return _status(pod, "Running", ready="False", state={"running": {"startedAt": LONG_AGO}})


def succeeded(pod: Object) -> Object:
    """All containers have ended well."""
    return _status(pod, "Succeeded", ready="False", state=_ended(0, "Completed"))


def failed(pod: Object, code: int = 1) -> Object:
    """All containers have ended with this exit code."""
    return _status(pod, "Failed", ready="False", state=_ended(code, "Error"))


def refused(_pod: Object, reason: str = "UnexpectedAdmissionError") -> Object:
    """The kubelet would not take it: a device was not to be had, for example."""
    message = f"Pod was rejected: {reason}"
    return {"phase": "Failed", "reason": reason, "message": message, "startTime": LONG_AGO}


def waiting(pod: Object, reason: str = "ImagePullBackOff") -> Object:
    """No container runs, and this is why."""
    return _status(pod, "Pending", ready="False", state={"waiting": {"reason": reason, "message": reason}})


def _ended(code: int, reason: str) -> Object:
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": LONG_AGO, "finishedAt": LONG_AGO}}


def _status(pod: Object, phase: str, *, ready: str, state: Object) -> Object:
    return {
        "phase": phase,
        "startTime": LONG_AGO,
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}],
        "conditions": [
            {"type": kind, "status": ready if "Ready" in kind else "True", "lastTransitionTime": LONG_AGO}
            for kind in ("Initialized", "PodScheduled", "Ready", "ContainersReady")
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "containerID": "test://1" if "waiting" not in state else "",
                "ready": ready == "True",
                "restartCount": 0,
                "state": state,
            }
            for container in pod["spec"]["containers"]
        ],
    }
