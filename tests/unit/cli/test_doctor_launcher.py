"""What `ashore doctor` says of a launcher, and of agents that its configurations do not reach."""

from pathlib import Path

import pytest

from ashore.client import ClientError, Context, Unreachable
from ashore.client.discovery import AgentHealth
from ashore.client.launcher_model import ConfigurationDetail, LauncherState
from ashore_cli.doctor.launcher import agent_findings, is_none_meant, state_finding
from tests.unit.launcher.kit import alive

STATE = LauncherState(launcher="kubernetes", site="site", configurations=2, instances=3, queue=1)
SILENCE = Unreachable("nothing listens there")


def configuration(name: str, *nodes: str) -> ConfigurationDetail:
    return ConfigurationDetail(namespace="default", name=name, manifest={"spec": {"nodes": list(nodes)}})


def found(known: list[str], *meant: ConfigurationDetail, site: str = "site") -> list[str]:
    state = LauncherState(launcher="dry-run", site=site)
    health = AgentHealth(node="node-a", configurations=known)
    return [f"{one.text} -> {one.remedy}" for one in agent_findings(alive("node-a"), health, state, meant)]


def test_an_agent_that_has_all_that_is_meant_for_it_is_well() -> None:
    assert found(["default.cams", "own"], configuration("cams"), configuration("doors", "node-b")) == []


def test_an_agent_that_lacks_a_configuration_is_named_with_it() -> None:
    [told] = found(["own"], configuration("cams"), configuration("doors", "node-a"))
    assert told.startswith("the agent of node-a does not know default.cams, default.doors")


def test_an_agent_of_another_site_is_reached_by_no_configuration() -> None:
    [told] = found(["own"], configuration("cams"), site="plant")
    assert "no configuration reaches it" in told
    assert told.endswith("the launcher's is plant")


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        ("the cluster does not know Configurations of akri.sh/v0", "install the definitions"),
        ("nobody listens there", "check its kubeconfig"),
    ],
)
def test_a_cluster_that_cannot_be_used_has_its_remedy(why: str, remedy: str) -> None:
    finding = state_finding(LauncherState(launcher="kubernetes", site="site", cluster=why))
    assert not finding.ok
    assert finding.remedy.startswith(remedy)


def test_a_launcher_says_what_it_has_and_whether_it_leads() -> None:
    assert state_finding(STATE).ok
    assert "2 configurations, 3 instances, 1 thing to look at" in state_finding(STATE).text
    assert "another replica leads" in state_finding(LauncherState(launcher="kubernetes", site="s", leads=False)).text


def test_where_nobody_has_said_that_there_is_a_launcher_none_is_no_fault(tmp_path: Path) -> None:
    nobody = Context.load({}, data_dir=tmp_path)
    assert is_none_meant(nobody, SILENCE)
    assert not is_none_meant(nobody, ClientError("refused"))
    somebody = Context.load({"ASHORE_BROKER_LAUNCHER_URL": "http://launcher:8046"}, data_dir=tmp_path)
    assert not is_none_meant(somebody, SILENCE)
    known = Context.load({"ASHORE_BROKER_LAUNCHER_TOKEN": "secret"}, data_dir=tmp_path)
    assert not is_none_meant(known, SILENCE)
