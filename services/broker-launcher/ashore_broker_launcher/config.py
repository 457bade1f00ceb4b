"""What the broker launcher is told, beside what every service is told."""

from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from ashore.config import Settings

MANIFEST_KINDS: Final = (
    "v1/ConfigMap",
    "v1/Service",
    "v1/Pod",
    "apps/v1/Deployment",
    "apps/v1/StatefulSet",
    "batch/v1/Job",
    "batch/v1/CronJob",
)


class BrokerLauncherSettings(Settings, frozen=True, kw_only=True):
    """Settings of the broker launcher."""

    service: ClassVar[str] = "broker-launcher"

    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes any free one.")] = 8046
    site: Annotated[
        str, Meta(pattern="^[a-z0-9-]{1,63}$", description="The site whose agents find devices for this cluster.")
    ] = "site"
    launcher: Annotated[
        Literal["auto", "kubernetes", "dry-run"],
        Meta(
            description="`auto` uses the cluster of the kubeconfig or of the pod that this runs in, and where there is "
            "none `dry-run`, which only shows what it would apply."
        ),
    ] = "auto"
    kubeconfig: Annotated[
        Path | None, Meta(description="File that says where the cluster is; by default as kubectl finds it.")
    ] = None
    namespace: Annotated[str, Meta(description="The only namespace to look at; by default all of them.")] = ""
    lease_namespace: Annotated[
        str, Meta(description="Namespace of the Lease by which replicas agree on who leads.")
    ] = "default"
    manifests: Annotated[
        Path | None, Meta(description="Folder of Configurations for the dry-run launcher, `.yaml` files.")
    ] = None
    manifest_kinds: Annotated[
        list[str],
        Meta(description="Kinds that `brokerManifests` may have, as `v1/ConfigMap`, separated by commas."),
    ] = msgspec.field(default_factory=lambda: list(MANIFEST_KINDS))
    shared_namespaces: Annotated[
        list[str],
        Meta(
            description="Namespaces whose Secrets and ConfigMaps every Configuration may name in its "
            "`discoveryProperties`, separated by commas; by default only those of its own."
        ),
    ] = []
    install_crds: Annotated[
        bool,
        Meta(
            description="Whether the launcher itself brings `configurations.akri.sh` and `instances.akri.sh` into the "
            "cluster, which needs an administrator's rights; the manifests do it otherwise."
        ),
    ] = False
    webhook_port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)] | None,
        Meta(description="Port of the admission webhook, over TLS; by default there is none."),
    ] = None
    webhook_host: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9-]{1,63}\.[a-z0-9-]{1,63}\.svc$",
            description="Under which name the API server finds the webhook: `SERVICE.NAMESPACE.svc`. Its certificate "
            "is kept in a Secret of that namespace, for all replicas.",
        ),
    ] = "ashore-broker-launcher.ashore.svc"
