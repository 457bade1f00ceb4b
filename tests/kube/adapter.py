"""The launcher's own port on the API server of the tests, as one user or another."""

import secrets
from pathlib import Path

from ashore_broker_launcher.launchers.kubernetes.access import from_files
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from tests.kube.api import Access


def adapter(access: Access, folder: Path) -> KubernetesCluster:
    """The port, for the length of a block."""
    return KubernetesCluster(from_files([access.write(folder / f"kubeconfig-{secrets.token_hex(4)}")]))
