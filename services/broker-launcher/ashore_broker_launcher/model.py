"""Configurations and instances, read from the objects of the API server.

The fields are Akri's (`akri.sh/v0`), and some more of our own. What Kubernetes itself understands (pods, jobs,
services, manifests) stays plain JSON.
"""

from typing import Annotated, Final, Literal, Self, TypeVar

import msgspec
from msgspec import Meta

from ashore_broker_launcher.cluster import JsonObject, Key

RERUN: Final = "akri.sh/rerun"
"""Annotation of a configuration or an instance: with another value than before its jobs run again."""
DEVICE: Final = "akri.sh/device"
"""Annotation of an instance: the device's key in `device-seen`."""
HASH: Final = "akri.sh/applied-hash"
"""Annotation of whatever the launcher applies: the hash of what it applied, so that a difference can be seen."""
PART: Final = "akri.sh/part"
"""Annotation of a broker: which part of the configuration it comes from: `pod`, `job`, `manifests/0`, `service`."""
CONFIGURATION_LABEL: Final = "akri.sh/configuration"
INSTANCE_LABEL: Final = "akri.sh/instance"
NODE_LABEL: Final = "akri.sh/target-node"
CONTROLLER_LABEL: Final = "controller"
CONTROLLER: Final = "akri.sh"

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Time = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)")]
T = TypeVar("T")


class ObjectError(ValueError):
    """An object does not have the form that it should have; the text says where."""


class KeyReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One key of a Secret or a ConfigMap."""

    name: str
    key: str = ""
    namespace: str = "default"
    optional: bool = False


class ValueFrom(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where the value of a property stands."""

    secret_key_ref: KeyReference | None = None
    config_map_key_ref: KeyReference | None = None


class DiscoveryProperty(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A value that a discovery handler gets beside its details."""

    name: str
    value: str | None = None
    value_from: ValueFrom | None = None


class DiscoveryHandler(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who finds the devices, and what it is told."""

    name: str
    discovery_details: str = ""
    discovery_properties: list[DiscoveryProperty] | None = None


class BrokerSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A pod for each node and instance, or a job for each instance."""

    broker_pod_spec: JsonObject | None = None
    broker_job_spec: JsonObject | None = None


class MaintenanceWindow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """When jobs may be started; `until` before `from` means: until the next morning."""

    days: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    from_: Time = msgspec.field(name="from")
    until: Time
    time_zone: str = "UTC"


class Rollout(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How jobs, and changes of pods, reach many devices."""

    maintenance_window: MaintenanceWindow | None = None
    canary: Annotated[int, Meta(ge=0)] = 0
    """So many devices first; the others when all of these have succeeded, and none if one has failed."""
    max_unavailable: Annotated[int, Meta(ge=1)] = 1
    """So many of a configuration's pods are replaced at a time."""


class ConfigurationSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What to look for, and what to start for it."""

    discovery_handler: DiscoveryHandler
    capacity: Annotated[int, Meta(ge=1, le=1000)] = 1
    broker_spec: BrokerSpec | None = None
    broker_manifests: list[JsonObject] = []
    broker_properties: dict[str, str] = {}
    instance_service_spec: JsonObject | None = None
    configuration_service_spec: JsonObject | None = None
    match: JsonObject | None = None
    departure: JsonObject | None = None
    identity: list[str] = []
    nodes: list[str] = []
    rollout: Rollout = Rollout()

    @property
    def pod_spec(self) -> JsonObject | None:
        """What its broker pods are, if it has some."""
        return None if self.broker_spec is None else self.broker_spec.broker_pod_spec

    @property
    def job_spec(self) -> JsonObject | None:
        """What its broker jobs are, if it has some."""
        return None if self.broker_spec is None else self.broker_spec.broker_job_spec


class Meta_(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):  # noqa: N801 - Meta is msgspec's
    """What every object says of itself."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    deletion_timestamp: str | None = None


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration as it is in the cluster."""

    metadata: Meta_
    spec: ConfigurationSpec
    status: JsonObject = {}

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name

    @classmethod
    def read(cls, body: JsonObject) -> Self:
        """Read an object; raise ObjectError."""
        return _read(cls, body)


class InstanceSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A device that a configuration wants."""

    configuration_name: str
    cdi_name: str
    capacity: int = 1
    broker_properties: dict[str, str] = {}
    shared: bool = False
    nodes: list[str] = []
    device_usage: dict[str, str] = {}


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """An instance as it is in the cluster, or as it should be."""

    metadata: Meta_
    spec: InstanceSpec
    status: JsonObject = {}

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name

    @property
    def configuration_key(self) -> Key:
        """Namespace and name of its configuration."""
        return self.metadata.namespace, self.spec.configuration_name

    @property
    def device(self) -> str:
        """The device's key; empty where somebody else than the launcher has made it."""
        return self.metadata.annotations.get(DEVICE, "")

    @classmethod
    def read(cls, body: JsonObject) -> Self:
        """Read an object; raise ObjectError."""
        return _read(cls, body)


def _read(kind: type[T], body: JsonObject) -> T:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        metadata = body.get("metadata")
        name = metadata.get("name", "?") if isinstance(metadata, dict) else "?"
        raise ObjectError(f"'{name}': {error}") from error
