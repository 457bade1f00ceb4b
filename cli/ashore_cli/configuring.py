"""`ashore configuration apply` and `explain` at work: files of Configurations, one document or several."""

from pathlib import Path
from typing import Final

import msgspec
from rich.text import Text

from ashore.client.errors import ClientError, Unreachable
from ashore.client.launcher_model import ConfigurationExplanation, Manifest, Verdict
from ashore_cli.documents import read_documents
from ashore_cli.errors import DONE, REFUSED, CommandError, printable
from ashore_cli.options import Options
from ashore_cli.output import console, form, show_data
from ashore_cli.places import place

_KIND: Final = "Configuration"
_LIST: Final = "List"
_STYLES: Final = {"created": "green", "changed": "yellow", "unchanged": "dim", "refused": "red"}
_WORDS: Final = {"yes": "is wanted", "unknown": "may be wanted"}


class Outcome(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of one configuration of a file."""

    namespace: str
    name: str
    result: str
    problems: list[str] = []
    warnings: list[str] = []


async def apply_file(file: Path, namespace: str, options: Options) -> int:
    """Apply all of them, whatever becomes of each; the answer is the exit code."""
    manifests, outcomes = read_manifests(file, namespace), []
    async with options.client() as client:
        for manifest in manifests:
            where = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
            try:
                applied = await client.launcher.apply(*where, manifest)
            except ClientError as error:
                if isinstance(error, Unreachable) or not error.errors:
                    raise
                outcome = Outcome(namespace=where[0], name=where[1], result="refused", problems=error.errors)
            else:
                outcome = Outcome(namespace=where[0], name=where[1], result=applied.result, warnings=applied.warnings)
            outcomes.append(outcome)
            if form(options) == "table":
                _show_outcome(outcome)
    if form(options) != "table":
        show_data(outcomes, options)
    return REFUSED if any(one.problems for one in outcomes) else DONE


async def explain_file(file: Path, namespace: str, options: Options) -> int:
    """Explain all of them; the answer is the exit code."""
    manifests = read_manifests(file, namespace)
    async with options.client() as client:
        found = [await client.launcher.explain(manifest) for manifest in manifests]
    if form(options) == "table":
        for one in found:
            _show_explanation(one)
    else:
        show_data(found, options)
    return REFUSED if any(one.problems for one in found) else DONE


def read_manifests(file: Path, namespace: str) -> list[Manifest]:
    """All Configurations of a file, each with its namespace."""
    documents: list[object] = []
    for one in read_documents(file):
        listed = one.get("items") if isinstance(one, dict) and one.get("kind") == _LIST else None
        documents += listed if isinstance(listed, list) else [one]
    if not documents:
        raise CommandError(f"{file} is empty", remedy="write a Configuration into it")
    return [_placed(one, number, file, namespace) for number, one in enumerate(documents, 1)]


def _placed(document: object, number: int, file: Path, namespace: str) -> Manifest:
    where = f"document {number} of {file}"
    if not isinstance(document, dict) or document.get("kind") != _KIND:
        kind = document.get("kind") if isinstance(document, dict) else None
        raise CommandError(
            f"{where} is {f'a {kind}' if kind else 'no object'}, and no Configuration",
            remedy="give only Configurations of akri.sh/v0; kubectl takes the others",
        )
    metadata = document.get("metadata")
    name, own = (metadata.get("name"), metadata.get("namespace")) if isinstance(metadata, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(metadata, dict) or not isinstance(own, str | None):
        raise CommandError(f"{where} has no name", remedy="give it `metadata: {name: ...}`")
    found, name = place(f"{own}/{name}" if own else name, namespace)
    return {**document, "metadata": {**metadata, "namespace": found, "name": name}}


def _show_outcome(one: Outcome) -> None:
    style = _STYLES.get(one.result, "")
    line = Text.assemble(printable(f"configuration {one.namespace}/{one.name} "), (printable(one.result), style))
    console().print(line)
    _show_sentences(one.problems, one.warnings)


def _show_sentences(problems: list[str], warnings: list[str]) -> None:
    for problem in problems:
        console().print(Text(f"  {printable(problem)}", style="red"))
    for warning in warnings:
        console().print(Text(f"  note: {printable(warning)}", style="yellow"))


def _show_explanation(one: ConfigurationExplanation) -> None:
    out = console()
    out.print(Text(printable(f"configuration {one.namespace}/{one.name}"), style="bold"))
    _show_sentences(one.problems, one.warnings)
    if one.handed_out is not None:
        words = msgspec.json.encode(one.handed_out.get("details") or {}).decode()
        out.print(printable(f"  agents are told: {one.handed_out.get('handler')} {words}"))
    others = one.more_devices
    for verdict in one.devices:
        if verdict.wanted == "no":
            others += 1
        else:
            _show_verdict(verdict)
    if others:
        out.print(f"  {others} other devices, which it does not want; with -o yaml some are listed", style="dim")
    if not one.problems and not one.devices:
        out.print("  no agent of the launcher's site sees any device now")


def _show_verdict(one: Verdict) -> None:
    out, on = console(), f" on {', '.join(one.nodes)}" if one.nodes else ""
    style = {"yes": "green", "unknown": "yellow"}.get(one.wanted, "dim")
    words = f"  device {one.device}{on} {_WORDS.get(one.wanted, one.wanted)}: {one.why}"
    out.print(Text(printable(words), style=style))
    for manifest in one.manifests:
        name = manifest.get("metadata", {}).get("name")
        out.print(printable(f"    {manifest.get('kind')} {name} would be applied"))
    _show_sentences(one.problems, [])
