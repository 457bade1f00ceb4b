"""What the tests of desired objects share: one instance, and a cluster in a dictionary that does what each plan says.

stage = Stage({"brokerSpec": pods()}, nodes=["a"])    a configuration's spec, and who sees the device
stage.settle(); stage.becomes("Pod", "Running")       plans until nothing is left to be done; the kubelet's part
"""

import copy
from typing import Any

from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.desired.brokers import Failures, Plan, World, plan
from ashore_broker_launcher.desired.phases import timestamp
from ashore_broker_launcher.model import Configuration, Instance

NOON = 1_800_000_000.0
KINDS = frozenset({"v1/ConfigMap", "v1/Service", "v1/Pod", "apps/v1/Deployment", "batch/v1/Job"})
CONTAINER = {"name": "broker", "image": "example/broker"}


def pods(**spec: Any) -> JsonObject:
    """A brokerSpec with pods."""
    return {"brokerPodSpec": {"containers": [CONTAINER], **spec}}


def jobs(**spec: Any) -> JsonObject:
    """A brokerSpec with jobs."""
    return {"brokerJobSpec": {"template": {"spec": {"containers": [CONTAINER], "restartPolicy": "Never"}}, **spec}}


class Stage:
    """One instance and its objects, on a clock that is turned by hand."""

    def __init__(self, spec: JsonObject, **instance: Any) -> None:
        self.now = NOON
        self.failures = Failures()
        self.children: dict[str, JsonObject] = {}
        self.world: JsonObject = {"allowed_kinds": KINDS}
        self.told: list[tuple[str, str]] = []
        self.made = 0
        self.graceful = False
        self.configured: JsonObject = {
            "metadata": {"name": "cams", "namespace": "shop", "uid": "configuration-1", "generation": 3},
            "spec": {"discoveryHandler": {"name": "onvif"}, **spec},
        }
        self.seen: JsonObject = {
            "metadata": {"name": "cams-4294ea", "namespace": "shop", "uid": "instance-1", "annotations": {}},
            "spec": {"configurationName": "cams", "cdiName": "akri.sh/cams=4294ea", "shared": True, "nodes": ["a"]},
            "status": {},
        }
        self.seen["metadata"]["annotations"]["akri.sh/device"] = "mac-00408c123456"
        self.seen["spec"] |= instance

    @property
    def configuration(self) -> Configuration:
        return Configuration.read(self.configured)

    @property
    def instance(self) -> Instance:
        return Instance.read(self.seen)

    def edit(self, **spec: Any) -> None:
        """The configuration's spec is another one."""
        self.configured["spec"] |= spec
        self.configured["metadata"]["generation"] += 1

    def sees(self, **spec: Any) -> None:
        """The instance's spec is another one."""
        self.seen["spec"] |= spec

    def plan(self, **world: Any) -> Plan:
        """What would be done."""
        given = {**self.world, **world}
        return plan(
            self.configuration,
            self.instance,
            World(now=self.now, children=copy.deepcopy(list(self.children.values())), failures=self.failures, **given),
        )

    def step(self, **world: Any) -> Plan:
        """Plan once, and do it."""
        made = self.plan(**world)
        self.failures, self.seen["status"] = made.failures, made.status
        for body in made.apply:
            self._apply(body)
        for doomed in made.delete:
            self._delete(doomed.child, doomed.cause)
        return made

    def settle(self, **world: Any) -> Plan:
        """Plan and do until there is nothing to do; the answer is the last plan."""
        for _ in range(20):
            made = self.step(**world)
            if not made.apply and not made.delete:
                return made
        raise AssertionError("the plans do not come to an end")

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def becomes(self, kind: str, phase: str = "Running", name: str = "", **status: Any) -> None:
        """All objects of a kind, or one of them, get this status."""
        for child in self.children.values():
            if child["kind"] == kind and name in ("", child["metadata"]["name"]) and not leaving(child):
                child["status"] = {"phase": phase, "startTime": timestamp(self.now), **status}

    def names(self, kind: str = "Pod") -> list[str]:
        return sorted(one["metadata"]["name"] for one in self.children.values() if one["kind"] == kind)

    def only(self, kind: str) -> JsonObject:
        """The one object of a kind."""
        found = [one for one in self.children.values() if one["kind"] == kind]
        assert len(found) == 1, found
        return found[0]

    def finish_deletions(self) -> None:
        self.children = {key: one for key, one in self.children.items() if not leaving(one)}

    def pod_of_job(self, phase: str, **status: Any) -> None:
        """The job's controller makes a pod."""
        job = self.only("Job")
        name = f"{job['metadata']['name']}-x"
        owner = {"uid": job["metadata"]["uid"], "controller": True, "kind": "Job", "name": job["metadata"]["name"]}
        self.children[f"Pod/{name}"] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "uid": f"of-{name}", "ownerReferences": [owner]},
            "spec": {"nodeName": "a"},
            "status": {"phase": phase, **status},
        }

    def _apply(self, body: JsonObject) -> None:
        key, exists = f"{body['kind']}/{body['metadata']['name']}", "uid" in body["metadata"]
        assert exists == (key in self.children), "a plan knows what exists"
        self.made += 1
        new = {"uid": f"uid-{self.made}", "creationTimestamp": timestamp(self.now)}
        before = self.children.get(key, {"metadata": new})
        kept = {name: before["metadata"][name] for name in new}
        self.children[key] = {**before, **body, "metadata": {**body["metadata"], **kept}}

    def _delete(self, child: JsonObject, cause: str) -> None:
        key = f"{child['kind']}/{child['metadata']['name']}"
        self.told.append((key, cause))
        if self.graceful:
            self.children[key]["metadata"]["deletionTimestamp"] = timestamp(self.now)
            return
        del self.children[key]
        uid = child["metadata"]["uid"]
        self.children = {at: one for at, one in self.children.items() if owner(one) != uid}


def leaving(child: JsonObject) -> bool:
    return "deletionTimestamp" in child["metadata"]


def owner(child: JsonObject) -> str:
    return str(child["metadata"]["ownerReferences"][0]["uid"])
