"""What the commands about the cluster make of names, of files, and of logs."""

from pathlib import Path

import pytest

from ashore_cli.configuring import read_manifests
from ashore_cli.errors import CommandError
from ashore_cli.launching import added
from ashore_cli.places import place
from ashore_cli.stack import Layout, Ports
from ashore_cli.stack.services import SERVICES, Place

CAMS = "apiVersion: akri.sh/v0\nkind: Configuration\nmetadata: {name: cams}\nspec: {}\n"


@pytest.mark.parametrize(
    ("text", "namespace", "found"),
    [
        ("cams", "", ("default", "cams")),
        ("cams", "plant", ("plant", "cams")),
        ("plant/cams", "", ("plant", "cams")),
        ("plant/cams", "plant", ("plant", "cams")),
    ],
)
def test_a_thing_is_named_with_its_namespace_or_without(text: str, namespace: str, found: tuple[str, str]) -> None:
    assert place(text, namespace) == found


@pytest.mark.parametrize(("text", "namespace"), [("", ""), ("/cams", ""), ("plant/", ""), ("a/b/c", ""), ("a/b", "c")])
def test_what_is_no_name_is_refused(text: str, namespace: str) -> None:
    with pytest.raises(CommandError) as refused:
        place(text, namespace)
    assert refused.value.remedy


def manifests(tmp_path: Path, text: str, namespace: str = "") -> list[dict[str, object]]:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    return read_manifests(path, namespace)


def test_a_file_has_one_configuration_or_several_or_a_list_of_them(tmp_path: Path) -> None:
    one = CAMS.replace("\n", "\n  ").rstrip()
    listed = f"apiVersion: v1\nkind: List\nitems:\n- {one}\n"
    found = manifests(
        tmp_path, f"{CAMS}---\n{CAMS.replace('name: cams', 'name: doors, namespace: plant')}---\n{listed}"
    )
    assert [one["metadata"] for one in found] == [
        {"name": "cams", "namespace": "default"},
        {"name": "doors", "namespace": "plant"},
        {"name": "cams", "namespace": "default"},
    ]


def test_json_is_taken_as_well_and_a_namespace_is_filled_in(tmp_path: Path) -> None:
    found = manifests(tmp_path, '{"kind": "Configuration", "metadata": {"name": "cams"}}', "plant")
    assert found == [{"kind": "Configuration", "metadata": {"name": "cams", "namespace": "plant"}}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("kind: Pod\nmetadata: {name: x}", "document 1 of .* is a Pod"),
        (f"{CAMS}---\nkind: Namespace", "document 2 of .* is a Namespace"),
        ("just words", "no object"),
        ("kind: Configuration", "no name"),
        ("kind: Configuration\nmetadata: [name]", "no name"),
        ("kind: Configuration\nmetadata: {name: 7}", "no name"),
        ("kind: Configuration\nmetadata: {name: x, namespace: 7}", "no name"),
        ("kind: [Configuration", "neither YAML nor JSON"),
    ],
)
def test_a_file_with_something_else_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CommandError, match=words) as refused:
        manifests(tmp_path, text)
    assert refused.value.remedy


def test_a_configuration_of_another_namespace_than_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="not in the namespace"):
        manifests(tmp_path, CAMS.replace("name: cams", "name: cams, namespace: plant"), "yard")


@pytest.mark.parametrize(
    ("before", "now", "news"),
    [
        ("", "", ""),
        ("", "a\nb\n", "a\nb\n"),
        ("a\n", "a\n", ""),
        ("a\nb\n", "a\nb\nc\n", "c\n"),
        ("a\nb\nc\n", "b\nc\nd\n", "d\n"),
        ("a\nb\nc\n", "c\nd\n", "d\n"),
        # The first line of what is kept is cut off.
        ("aaaa\nb\nc\n", "aa\nb\nc\nd\n", "d\n"),
        ("tick\ntick\n", "tick\ntick\ntick\n", "tick\n"),
        # Another pod, with another log.
        ("a\nb\n", "x\ny\n", "x\ny\n"),
    ],
)
def test_of_a_log_that_is_followed_only_what_is_new_is_shown(before: str, now: str, news: str) -> None:
    assert added(before, now) == news


@pytest.mark.parametrize(("kubernetes", "launcher"), [(False, "dry-run"), (True, "kubernetes")])
def test_a_cluster_is_used_only_where_it_is_asked_for(tmp_path: Path, kubernetes: bool, launcher: str) -> None:
    where = Place(Layout(tmp_path), Ports(), "127.0.0.1", "nats://127.0.0.1:4222", kubernetes=kubernetes)
    [service] = [one for one in SERVICES if one.name == "broker-launcher"]
    assert service.environment(where, {})["ASHORE_LAUNCHER"] == launcher
