"""As whom the launcher comes: kubeconfigs and Pods as they are in the field, against a real API server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ashore_broker_launcher.cluster import CONFIG_MAP, Refused, Unreachable
from ashore_broker_launcher.launchers.kubernetes.access import Access, NoClusterError, find, from_files, from_pod
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from ashore_broker_launcher.launchers.kubernetes.credentials import TokenFile
from tests.kube import users
from tests.kube.api import Access as ByToken
from tests.kube.api import Api
from tests.kube.control_plane import ControlPlane
from tests.kube.scripted import ScriptedServer, failed, listed
from tests.tls_kit import certified

READ = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
HALF = "{current-context: a, contexts: [{name: a, context: {cluster: a}}], clusters: [{name: a, cluster: "
Change = Callable[[dict[str, Any]], None]


async def reads(access: Access, namespace: str) -> bool:
    async with KubernetesCluster(access) as cluster:
        await cluster.list(CONFIG_MAP, namespace=namespace)
    return True


@pytest.fixture
async def reader(kube: Api, kube_namespace: str) -> ByToken:
    """Make somebody who may read in a namespace, and has a token."""
    return await users.account(kube, kube_namespace, "reader", READ)


@pytest.fixture
def config(reader: ByToken, tmp_path: Path) -> Path:
    """Write a kubeconfig of that user."""
    return reader.write(tmp_path / "config")


def changed(config: Path, change: Change) -> Path:
    body = read(config)
    change(body)
    write(config, body)
    return config


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def write(path: Path, body: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(body))


async def test_a_kubeconfig_with_a_token_leads_to_its_cluster(config: Path, kube_namespace: str) -> None:
    assert await reads(from_files([config]), kube_namespace)


async def test_the_token_and_the_authority_may_be_files_beside_the_kubeconfig(
    config: Path, reader: ByToken, kube_namespace: str
) -> None:
    (config.parent / "authority.pem").write_text(reader.authority)
    (config.parent / "token").write_text(f"{reader.token}\n")

    def change(body: dict[str, Any]) -> None:
        body["users"][0]["user"] = {"tokenFile": "token"}
        cluster = body["clusters"][0]["cluster"]
        del cluster["certificate-authority-data"]
        cluster["certificate-authority"] = "authority.pem"

    assert await reads(from_files([changed(config, change)]), kube_namespace)


async def test_a_server_with_the_certificate_of_another_is_not_believed(config: Path) -> None:
    (config.parent / "authority.pem").write_text(certified(config.parent / "other").authority)

    def change(body: dict[str, Any]) -> None:
        cluster = body["clusters"][0]["cluster"]
        del cluster["certificate-authority-data"]
        cluster["certificate-authority"] = "authority.pem"

    with pytest.raises(Unreachable, match="certificate verify failed"):
        await reads(from_files([changed(config, change)]), "default")


async def test_a_certificate_logs_in_from_the_kubeconfig_or_from_files_that_may_change(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    config = control_plane.access_by_certificate.write(tmp_path / "config")
    assert await reads(from_files([config]), "default")
    (tmp_path / "client.pem").write_text(control_plane.access_by_certificate.certificate)

    def change(body: dict[str, Any]) -> None:
        body["users"][0]["user"] = {"client-certificate": "client.pem", "client-key": "client.pem"}

    access = from_files([changed(config, change)])
    assert await reads(access, "default")
    (tmp_path / "client.pem").write_text("nonsense")
    with pytest.raises(Unreachable, match="certificates for the API server cannot be used"):
        await reads(access, "default")


async def test_several_kubeconfigs_are_one_and_the_first_has_the_say(config: Path, kube_namespace: str) -> None:
    body = read(config)
    first, second = config.parent / "first", config.parent / "second"
    write(first, {"current-context": "test", "contexts": body["contexts"]})
    write(second, {**body, "current-context": "another", "contexts": []})
    named = {"KUBECONFIG": f"{first}:{config.parent / 'missing'}:{second}"}
    assert await reads(find(environment=named), kube_namespace)


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_program_that_prints_a_token_logs_in(
    config: Path, reader: ByToken, kube_namespace: str, version: str
) -> None:
    program(config, f'{{"status": {{"token": "{reader.token}"}}}}')
    assert await reads(from_files([changed(config, by_program(version))]), kube_namespace)


@pytest.mark.parametrize(
    ("printed", "words"),
    [("nonsense", "no ExecCredential"), ('{"status": {}}', "no token"), ("END\nexit 3\ncat <<END", "exit code 3")],
)
async def test_a_program_that_has_no_token_is_told_of(config: Path, printed: str, words: str) -> None:
    program(config, printed)
    with pytest.raises(Unreachable, match=words):
        await reads(from_files([changed(config, by_program("v1"))]), "default")


async def test_a_program_that_is_missing_is_told_of(config: Path) -> None:
    with pytest.raises(Unreachable, match="cannot be run"):
        await reads(from_files([changed(config, by_program("v1"))]), "default")


async def test_a_pod_finds_its_cluster_and_is_its_service_account(
    reader: ByToken, kube_namespace: str, tmp_path: Path
) -> None:
    environment = in_pod(reader, kube_namespace, tmp_path)
    access = find(environment=environment, account=tmp_path / "account")
    assert access.namespace == kube_namespace
    assert await reads(access, kube_namespace)
    with pytest.raises(Refused, match="system:serviceaccount"):
        await reads(access, "default")


async def test_a_token_that_is_no_longer_taken_is_read_again(
    reader: ByToken, kube_namespace: str, tmp_path: Path
) -> None:
    environment = in_pod(reader, kube_namespace, tmp_path)
    token = tmp_path / "account" / "token"
    good = token.read_text()
    token.write_text("old")
    async with KubernetesCluster(from_pod(environment, tmp_path / "account")) as cluster:
        with pytest.raises(Refused) as refused:
            await cluster.list(CONFIG_MAP, namespace=kube_namespace)
        assert refused.value.status == 401
        token.write_text(good)
        assert await cluster.list(CONFIG_MAP, namespace=kube_namespace) is not None


async def test_a_token_in_a_file_is_read_again_each_minute(tmp_path: Path) -> None:
    now = 0.0
    path = tmp_path / "token"
    path.write_text("first")
    async with ScriptedServer(listed("1"), listed("1"), listed("1")) as server:
        access = server.access(TokenFile(path, lambda: now))
        async with KubernetesCluster(access) as cluster:
            await cluster.list(CONFIG_MAP)
            path.write_text("second")
            await cluster.list(CONFIG_MAP)
            now = 61
            await cluster.list(CONFIG_MAP)
        said = [question.headers["authorization"] for question in server.asked]
        assert said == ["Bearer first", "Bearer first", "Bearer second"]


async def test_who_is_not_taken_with_a_new_token_either_is_told_so_once(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a\nb")
    async with ScriptedServer(failed(401), failed(401)) as server:
        async with KubernetesCluster(server.access(TokenFile(path))) as cluster:
            with pytest.raises(Unreachable, match="no token"):
                await cluster.list(CONFIG_MAP)
            path.write_text("good")
            with pytest.raises(Refused, match="does not know who asks"):
                await cluster.list(CONFIG_MAP)
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not hold it"),
        ("nonsense: [", "no kubeconfig"),
        ("[1, 2]", "no kubeconfig"),
        ("{current-context: a, contexts: [{name: a, context: {cluster: b}}]}", "'b'"),
        (
            HALF + "{server: 'ftp://x'}}]}",
            "no address",
        ),
        (
            HALF + "{server: 'https://x', proxy-url: 'http://y'}}]}",
            "proxy",
        ),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_told_of(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(NoClusterError, match=words):
        from_files([tmp_path / "config"])


async def test_where_nothing_says_where_a_cluster_is_that_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoClusterError, match="KUBECONFIG"):
        find(environment={"HOME": str(tmp_path)}, account=tmp_path)
    with pytest.raises(NoClusterError, match="missing"):
        find(tmp_path / "missing")


def in_pod(access: ByToken, namespace: str, folder: Path) -> dict[str, str]:
    """What the kubelet gives to a Pod of this service account."""
    (folder / "account").mkdir()
    (folder / "account" / "token").write_text(access.token)
    (folder / "account" / "ca.crt").write_text(access.authority)
    (folder / "account" / "namespace").write_text(namespace)
    host, _, port = access.url.removeprefix("https://").partition(":")
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "HOME": str(folder)}


def program(config: Path, printed: str) -> None:
    """A program beside the kubeconfig, which prints this where it is told what is wanted."""
    path = config.parent / "login"
    path.write_text(f"""#!/bin/sh
[ "$1" = token ] && [ -n "$KUBERNETES_EXEC_INFO" ] && [ "$SITE" = here ] || exit 9
cat <<END
{printed}
END
""")
    path.chmod(0o700)


def by_program(version: str) -> Change:
    def change(body: dict[str, Any]) -> None:
        api_version = f"client.authentication.k8s.io/{version}"
        environment = [{"name": "SITE", "value": "here"}]
        told = {"apiVersion": api_version, "command": "./login", "args": ["token"], "env": environment}
        body["users"][0]["user"] = {"exec": {**told, "interactiveMode": "Never", "provideClusterInfo": False}}

    return change
