"""Where a report comes from: versions, models, seeds and hashes, and the commands that compute it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from populace.experiments.design import folder_of
from populace.experiments.report.document import Block, Code, Section, Table, Text
from populace.experiments.report.minds import minds_of, roles_of
from populace.experiments.results import Results

_OF_MODEL = ("kind", "name", "path", "temperature", "max_tokens", "sampling")


def provenance(results: Results, manifests: Mapping[str, Sequence[Mapping[str, Any]]]) -> Section:
    """What was run, by what, and how it is run again."""
    design = results.design
    every = [one for of in manifests.values() for one in of]
    model = design.settings.get("model", {})
    facts = [
        ("experiment", design.name), ("society", design.society),
        ("code of the society", "; ".join(dict.fromkeys(str(one.get("origin") or "-") for one in every)) or "-"),
        ("what answered", minds_of(manifests) if every else "-"),
        *(("what answered", role) for role in roles_of(manifests)),
        ("settings of the model", ", ".join(f"{key} = {json.dumps(model[key])}" for key in _OF_MODEL if key in model)),
        ("seeds", f"{design.seed} to {design.seed + design.replicates - 1}"),
        ("design (BLAKE2b-128)", design.digest), ("registered", design.made or "-"),
        ("populace of the design", design.populace or "-"),
    ]  # fmt: skip
    versions = dict.fromkeys((key, str(value)) for one in every for key, value in one.get("versions", {}).items())
    facts += [(f"version of {name}", value) for name, value in versions]
    hashes = tuple(
        (folder_of(design.arm(arm), replicate), str(design.seed + replicate), of.get("trace_hash") or "-",
         of.get("world_hash") or "-", of.get("run") or "-")
        for arm, runs in manifests.items() for replicate, of in zip(results.complete, runs, strict=True)
    )  # fmt: skip
    blocks: list[Block] = [Table("What was run", ("of", "is"), tuple(facts))]
    if hashes:
        blocks.append(
            Table("Runs and their hashes", ("run", "seed", "trace hash", "world hash", "id"), hashes, folded=True)
        )
    folder = shlex.quote(results.name)
    first = shlex.quote(str(results.folder / folder_of(design.arm(design.control), 0)))
    again = shlex.quote(f"{results.name.rstrip('/')}-again")
    blocks += [
        Text("Every figure here is computed again from the folder; each run from its journal, with no call and all "
             "hashes compared; and the whole experiment anew from its design, which holds the text of its societies:"),
        Code(f"populace experiment report {folder}\npopulace replay {first} --code recorded\n"
             f"mkdir {again} && cp {folder}/experiment.json {again}/ && populace resume {again}"),
        Text("An interval here varies what the seed varies: who the people are, what they draw, how the model samples. "
             "It does not vary the model, the wording or the society's parameters."),
    ]  # fmt: skip
    return Section("Provenance", tuple(blocks))
