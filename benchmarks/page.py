"""The page of a large run: how long its views take, what its server holds in memory, and what watching costs a run.

Run it as `python benchmarks/page.py [--agents N] [--ticks N] [--rounds N] [--folder RUN] [--only views|cost]`.

`views` writes the tables of a run by the writer that runs use: four public fields, of which three change in each tick,
three ties an agent, messages of one in ten agents a tick, posts or shares and asks of one in a hundred. It then serves
it in a process of its own and asks each view over HTTP, `--rounds` times in turn: the first answers are those of a page
that has just begun. What is made ready in the background (a field over all ticks, the layout, the feed) is timed until
it is ready; a view says at once that it is not. Then the same agents are residents of a city, and its map is asked.
Memory is the resident memory of the server's process, the greatest
value seen.

`cost` plays a run with a page that listens to it and one without in turn, in pairs; time is the CPU time of the run's
process, so what the page itself takes on another core is left out, and what it costs the run is not.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from figures import figure
from rich.console import Console
from rich.table import Table


def recorded(folder: Path, agents: int, ticks: int) -> None:
    """A run of this size; tables as a run writes them, by its own writer, since a society of that size takes long."""
    import numpy as np

    import populace
    from populace.settings import Record
    from populace.store.tables.tables import Tables

    few = folder.with_name("few")
    populace.run(
        "newsfeed", model="scripted", agents=30, ticks=2, out=few, quiet=True
    )  # its run.json and manifest are those of the large one but for the sizes
    folder.mkdir()
    about = json.loads((few / "run.json").read_text())
    about["settings"]["ticks"] = ticks
    (folder / "run.json").write_text(json.dumps(about))
    manifest = json.loads((few / "manifest.json").read_text()) | {
        "agents": agents,
        "ticks": ticks,
        "turns": agents * ticks,
    }
    tables = Tables(folder, {"opinion": float, "income": int, "active": bool, "party": str}, Record())
    draw = np.random.default_rng(7)
    ids = np.arange(agents, dtype=np.int32)
    community = draw.integers(0, 40, agents)
    order = np.argsort(community, kind="stable").astype(np.int32)
    place = np.empty(agents, np.int64)
    place[order] = np.arange(agents)
    source = np.repeat(ids, 3)
    near = order[(place[source] + draw.integers(1, max(2, agents // 200), len(source))) % agents]
    target = np.where(draw.random(len(source)) < 0.95, near, draw.integers(0, agents, len(source))).astype(np.int32)
    kept = source != target
    tables.add("ties", {
        "tick": np.zeros(kept.sum(), np.int32), "part": ["network"] * int(kept.sum()), "source": source[kept],
        "target": target[kept], "weight": np.ones(kept.sum()),
    })  # fmt: skip
    opinion, income = draw.random(agents), draw.integers(0, 1000, agents)
    party = draw.choice(["left", "middle", "right"], agents)
    posters = max(2, agents // 100)
    written = 0
    for tick in range(ticks + 1):
        opinion = np.clip(opinion + 0.1 * (draw.random(agents) - 0.5) + 0.01 * (community / 40 - opinion), 0.0, 1.0)
        income = income + draw.integers(0, 3, agents)
        active = draw.random(agents) < 0.3
        tables.add("agents", {
            "tick": np.full(agents, tick, np.int32), "agent": ids, "opinion": opinion, "income": income,
            "active": active, "party": party,
        })  # fmt: skip
        outcomes = {"mean": float(opinion.mean()), "spread": float(opinion.std()), "active": float(active.mean())}
        tables.add("outcomes", {"tick": [tick] * 3, "name": list(outcomes), "value": list(outcomes.values())})
        if tick == ticks:
            break
        who = np.sort(draw.choice(agents, posters, replace=False)).astype(np.int32)
        shares = draw.random(posters) < 0.5
        args = [
            {"post": int(draw.integers(0, written))} if share and written else {"text": f"Agent {one} on tick {tick}"}
            for one, share in zip(who.tolist(), shares.tolist(), strict=True)
        ]
        kinds = ["feed.post" if "text" in one else "feed.repost" for one in args]
        tables.add("actions", {
            "tick": [tick] * posters, "agent": who, "nth": [0] * posters, "kind": kinds,
            "args": list(map(packed, args)), "fate": ["applied"] * posters,
        })  # fmt: skip
        written += posters
        many = max(2, agents // 10)
        sender = np.sort(draw.integers(0, agents, many)).astype(np.int32)
        tables.add("messages", {
            "tick_sent": np.full(many, tick, np.int32), "tick_read": np.full(many, tick + 1, np.int32),
            "sender": sender, "receiver": draw.integers(0, agents, many).astype(np.int32),
            "nth": np.arange(many, dtype=np.int32),
            "body": [packed(f"agent {one} at {tick} speaks of taxes and schools, waits") for one in sender.tolist()],
            "fate": ["delivered"] * many,
        })  # fmt: skip
        some = max(2, agents // 100)
        asker = np.sort(draw.choice(agents, some, replace=False)).astype(np.int32)
        tables.add("asks", asked(tick, asker))
    tables.close(ticks, complete=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def packed(value: Any) -> bytes:
    import msgpack

    return bytes(msgpack.packb(value))


def asked(tick: int, asker: Any) -> dict[str, Any]:
    """Rows of the table of asks."""
    from populace.core.tables import TABLES

    count = len(asker)
    blank = {"text": "", "int32": 0, "int64": 10, "float64": 0.0, "bool": False}
    rows: dict[str, Any] = {one.name: [blank[one.type]] * count for one in TABLES["asks"].columns}
    prompt = [
        [["system", "You are a citizen. " * 20], ["user", f"Tick {tick}, agent {one}: what now?"]] for one in asker
    ]
    return rows | {
        "tick": [tick] * count, "agent": asker, "purpose": ["say"] * count, "settled": ["answered"] * count,
        "prompt": prompt, "answer": [f"I, {one}, wait" for one in asker.tolist()], "key": [bytes(16)] * count,
    }  # fmt: skip


VIEWS = {
    "overview": {}, "map": {}, "places": {}, "edges": {"tick": 0}, "field": {"field": "opinion"},
    "frames, one tick": {"field": "opinion", "start": 150},
    "frames, 24 ticks": {"field": "opinion", "start": 100, "count": 24}, "messages, newest": {},
    "messages, a word": {"text": "TAXES and"}, "messages, no find": {"text": "absent"},
    "messages of an agent": {"agent": 4321}, "asks of an agent": {"agent": 4321},
    "actions of an agent": {"agent": 4321},
    "whole": {"table": "asks", "row": 2}, "agent": {"agent": 4321}, "series": {"agent": 4321, "field": "opinion"},
    "posts, largest": {}, "posts, a word": {"text": "tick 77"}, "cascade": {"part": "feed", "post": 10}, "surveys": {},
    "minds": {},
}  # fmt: skip


TOWN_VIEWS = {
    "map": {}, "town": {}, "whereabouts, one tick": {"start": 150},
    "whereabouts, 24 ticks": {"start": 100, "count": 24},
    "field": {"field": "city.kind"}, "frames, one tick": {"field": "city.kind", "start": 150},
    "series": {"agent": 4321, "field": "city.kind"},
}  # fmt: skip


def settled(folder: Path, agents: int, ticks: int) -> None:
    """Make the agents of a recorded run residents of a generated city; one in ten goes somewhere in each tick."""
    import numpy as np

    from populace.core.draws import Draws
    from populace.env import City, Opening, World
    from populace.env.acts import Acting, Acts
    from populace.kernel.rows import part_rows
    from populace.settings import Record
    from populace.store.tables.tables import Tables

    class Setup:
        draw = Draws(7)

    Setup.agents = agents
    world = World(City.grid(Setup))
    world.open(Opening(agents=agents, seed=7, tick_seconds=3600.0, parameters=None, columns={}, draw=Draws(7)))
    beside = folder.with_name("beside")
    tables, wanted = Tables(beside, {}, Record()), ("places", "whereabouts")
    draw = np.random.default_rng(8)
    for name, rows in part_rows(world, wanted, opening=True).items():
        tables.add(name, rows)
    for _ in range(ticks):
        who = np.sort(draw.choice(agents, agents // 10, replace=False)).astype(np.int32)
        place = draw.integers(0, len(world.city.places), len(who))
        acts = Acts("city.go", who, np.zeros(len(who), np.int32), {"place": place}, {"mode": "car"})
        world.finish(world.apply(Acting([], [acts])))
        for name, rows in part_rows(world, wanted).items():
            tables.add(name, rows)
    tables.close(ticks, complete=True)
    town = folder.with_name("town")
    town.mkdir()
    for path in folder.glob("*"):
        if path.is_file():
            os.link(path, town / path.name)
    for name in wanted:
        (beside / f"{name}.parquet").rename(town / f"{name}.parquet")


class Served:
    """The page in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "populace.cli", "watch", str(folder), "--page", "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rstrip("/\n").rpartition(":")[2])
        self.most_bytes = 0

    def ask(self, view: str, given: dict[str, Any]) -> tuple[float, bool, int]:
        """Seconds, whether it was ready, and bytes."""
        from urllib.parse import urlencode

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        began = time.perf_counter()
        connection.request("GET", f"/api/{view}?{urlencode(given)}")
        response = connection.getresponse()
        body = response.read()
        took_s = time.perf_counter() - began
        assert response.status == 200, body
        connection.close()
        self.most_bytes = max(self.most_bytes, psutil.Process(self.process.pid).memory_info().rss)
        return took_s, not body.startswith(b'{"share"'), len(body)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def views(folder: Path, rounds: int, console: Console, asked: dict[str, dict[str, Any]]) -> None:
    page = Served(folder)
    try:
        took: dict[str, list[float]] = {name: [] for name in asked}
        waited: dict[str, float] = {}
        sizes: dict[str, int] = {}
        for number in range(rounds):
            for name, given in asked.items():
                began = time.perf_counter()
                took_s, ready, size = page.ask(name.partition(",")[0].partition(" of ")[0], given)
                took[name].append(took_s)
                while not ready:
                    time.sleep(0.1)
                    took_s, ready, size = page.ask(name.partition(",")[0].partition(" of ")[0], given)
                    took[name].append(took_s)
                    waited[name] = time.perf_counter() - began
                sizes[name] = size
                assert number == 0 or ready
        table = Table("view", "first ms", "median ms", "slowest ms", "kB", "ready after s")
        for name, all_of in took.items():
            ms = [f"{1000 * one:.0f}" for one in (all_of[0], statistics.median(all_of), max(all_of))]
            table.add_row(name, *ms, f"{sizes[name] / 1000:.0f}", f"{waited[name]:.1f}" if name in waited else "")
        slowest = max((max(all_of), name) for name, all_of in took.items())
        figure(f"the slowest view ({slowest[1]})", 1000 * slowest[0], "ms", aim=200.0, up=False)
        figure("the page's server", page.most_bytes / 2**20, "MiB", aim=300.0, up=False)
        console.print(table)
        console.print(f"server's resident memory: {page.most_bytes / 2**20:.0f} MiB at most")
    finally:
        page.close()


COST = """
from populace import Agent, Population, Public, Society

class Citizen(Agent):
    size: int
    mood: Public[float] = 0.0

    async def turn(self, ctx):
        for message in ctx.inbox:
            self.mood = 0.9 * self.mood + 0.1 * message.body
        ctx.send(ctx.draw("partner").integer(self.size), self.mood + 1.0)

society = Society(name="rule", agent=Citizen, outcomes={"mean": lambda world: world.columns["mood"].mean()},
                  population=lambda setup: Population({"size": [setup.agents] * setup.agents}))
"""


def cost(rounds: int, console: Console) -> None:
    """CPU seconds of a run's process with a page that listens, over those without."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "society.py").write_text(COST)
        ratios = []
        for number in range(rounds + 1):
            seconds = {}
            for watched in (True, False) if number % 2 else (False, True):
                seconds[watched] = _run(Path(place), f"{number}-{watched}", watched)
            if number:
                ratios.append(seconds[True] / seconds[False])
        console.print(
            f"CPU time of a watched run over one that is not: median {statistics.median(ratios):.3f} "
            f"({', '.join(f'{one:.3f}' for one in ratios)})"
        )


def _run(place: Path, name: str, watched: bool) -> float:
    command = [sys.executable, "-m", "populace.cli", "run", "society.py", "--model", "scripted", "--agents", "1500"]
    run = subprocess.Popen(
        [*command, "--ticks", "60", "--set", "checkpoint.every_s=1", "--out", name], cwd=place,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    page = None
    if watched:
        while not (place / name / "progress.jsonl").exists():
            time.sleep(0.02)
        page = Served(place / name)
        port = page.port

        def listen() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
            connection.request("GET", "/api/stream")
            with contextlib.suppress(http.client.IncompleteRead):  # the page ends while it streams
                connection.getresponse().read()

        threading.Thread(target=listen, daemon=True).start()
    _, _, used = os.wait4(run.pid, 0)
    if page is not None:
        page.close()
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100_000)
    parser.add_argument("--ticks", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="a run of this benchmark, to use again")
    parser.add_argument("--only", choices=("views", "cost"), default=None)
    options = parser.parse_args()
    console = Console()
    if options.only != "cost":
        with tempfile.TemporaryDirectory() as place:
            folder = options.folder or Path(place) / "large"
            if not folder.exists():
                recorded(folder, options.agents, options.ticks)
            views(folder, options.rounds, console, VIEWS)
            if not folder.with_name("town").exists():
                settled(folder, options.agents, options.ticks)
            views(folder.with_name("town"), options.rounds, console, TOWN_VIEWS)
    if options.only != "views":
        cost(options.rounds, console)


if __name__ == "__main__":
    main()
