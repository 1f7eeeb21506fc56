"""The programs of `rivals.py`: the same decisions, as each framework's own documents have them written.

Each runs in a folder of its own behind `PRELUDE`, which gives the work and what is measured. None is imported here, so
nothing but the reader's own Python needs a framework.
"""

from __future__ import annotations

PRELUDE = '''
import asyncio, gc, importlib.metadata, json, os, sys, time, urllib.request

AGENTS, TICKS, AT_ONCE, URL = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
QUESTION = "What do you do? a: you go there. b: you stay where you are. Answer with a or b and nothing else."


def profile(n):
    return (f"You are person {n}, {20 + n % 60} years old, and live in district {n % 7} of a town on a river. "
            + "You work in a shop, care for your neighbours and read the news in the evening. " * 4)


def saw(n, tick):
    return f"It is evening {tick}. {tick + n % 5} of your neighbours went to the meeting about the bridge. " * 3


def descendants():
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(pid)] = int(fields[1]), sum(map(int, fields[11:13])), int(fields[21])
    found, new = {}, {os.getpid()}
    while new := {pid for pid, (parent, *_) in parents.items() if parent in new} - found.keys():
        found |= {pid: parents[pid][1:] for pid in new}
    return found.values()


def cpu_s():
    return time.process_time() + sum(ticks for ticks, _ in descendants()) / os.sysconf("SC_CLK_TCK")


def resident():
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1]) + sum(pages for _, pages in descendants())
    return pages * os.sysconf("SC_PAGE_SIZE")


def calls():
    return int(urllib.request.urlopen(URL.removesuffix("/v1") + "/calls").read())


class Marks:
    """`begin()` before an agent is made, `first()` after the first tick, `stop()` after the last, then `end(...)`."""

    answers, wrong, first_wrong = 0, 0, ""

    def begin(self):
        self.held = resident()

    def first(self):
        self.answers = 0
        self.calls, self.wall, self.cpu = calls(), time.perf_counter(), cpu_s()

    def answer(self, text):
        self.answers += 1
        if text != "a":
            self.error(f"answered {text!r}")

    def error(self, what):
        self.wrong += 1
        self.first_wrong = self.first_wrong or str(what)[:300]

    def stop(self):
        self.wall, self.cpu = time.perf_counter() - self.wall, cpu_s() - self.cpu
        self.calls = calls() - self.calls
        self.held = resident() - self.held

    def end(self, package):
        decisions = AGENTS * (TICKS - 1)
        if self.answers != decisions:
            self.error(f"{self.answers} answers to {decisions} decisions")
        found = {
            "cpu_ms": self.cpu / decisions * 1e3, "wall_ms": self.wall / decisions * 1e3,
            "calls": self.calls / decisions, "held_kb": self.held / 1e3, "errors": self.wrong,
            "first_error": self.first_wrong, "version": importlib.metadata.version(package),
        }
        json.dump(found, open("found.json", "w"))


marks = Marks()
'''

BARE = """
import aiohttp


async def main():
    marks.begin()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:

        async def worker(left, tick):
            for n in left:
                messages = [{"role": "system", "content": profile(n)},
                            {"role": "user", "content": saw(n, tick) + QUESTION}]
                async with session.post(URL + "/chat/completions", json={"model": "m", "messages": messages}) as got:
                    marks.answer((await got.json())["choices"][0]["message"]["content"])

        for tick in range(TICKS):
            left = iter(range(AGENTS))
            await asyncio.gather(*(worker(left, tick) for _ in range(AT_ONCE)))
            if tick == 0:
                marks.first()
    marks.stop()
    marks.end("aiohttp")


asyncio.run(main())
"""

POPULACE = '''
from pathlib import Path

from clock import Clock
from populace.cluster.coordinator import Coordinator
from populace.cluster.collector import tuned_collector
from populace.cluster.local import LocalTransport
from populace.data.societies import Origin
from populace.settings import EndpointSettings, Model, Settings

SOCIETY = """
import __main__ as work
from populace import Agent, Population, Public, Society


class Person(Agent):
    went: Public[str] = ""

    async def turn(self, ctx):
        self.went = await ctx.ask(work.saw(ctx.id, ctx.tick) + work.QUESTION, str, system=work.profile(ctx.id),
                                  purpose="decide")
        work.marks.answer(self.went)


society = Society(name="deciders", agent=Person, population=lambda setup: Population({"went": [""] * setup.agents}))
"""


class Ticks(Clock):
    begun = False

    def tick(self, report):
        if not self.begun:
            self.begun = True
            marks.first()


settings = Settings(agents=AGENTS, ticks=TICKS, seed=1, model=Model(kind="openai", name="m"),
                    endpoint=EndpointSettings(base_url=URL, concurrency=AT_ONCE))
marks.begin()
with tuned_collector():
    run = Coordinator(Origin("deciders.py", SOCIETY), settings, LocalTransport(), Path("run"), [Ticks(None)])
    asyncio.run(run.run())
    marks.stop()
    marks.end("populace")
'''

MESA_LLM = """
import mesa
from mesa_llm import step_agents_parallel_sync
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning.cot import CoTReasoning


class Person(LLMAgent):
    async def astep(self):
        async with self.model.permits:
            plan = await self.reasoning.aplan(prompt=saw(self.unique_id, self.model.steps) + QUESTION)
            self.apply_plan(plan)
            marks.answer(plan.llm_plan.content)


class Town(mesa.Model):
    def __init__(self):
        super().__init__(rng=1)
        for n in range(AGENTS):
            Person(self, CoTReasoning, llm_model="openai/m", system_prompt=profile(n), api_base=URL)

    def step(self):
        self.permits = asyncio.Semaphore(AT_ONCE)
        step_agents_parallel_sync(list(self.agents))  # its patch of shuffle_do misses the agents of Mesa 3.5


marks.begin()
town = Town()
for tick in range(TICKS):
    town.step()
    if tick == 0:
        marks.first()
marks.stop()
marks.end("mesa-llm")
"""

AGENTSCOPE = """
from agentscope.agent import Agent
from agentscope.credential import OpenAICredential
from agentscope.message import UserMsg
from agentscope.model import OpenAIChatModel


async def main():
    marks.begin()
    model = OpenAIChatModel(OpenAICredential(api_key="none", base_url=URL), "m", stream=False)
    people = [Agent(f"person {n}", profile(n), model) for n in range(AGENTS)]
    permits = asyncio.Semaphore(AT_ONCE)

    async def decide(n, tick):
        async with permits:
            reply = await people[n].reply(UserMsg("town", saw(n, tick) + QUESTION))
        marks.answer(reply.get_text_content())

    for tick in range(TICKS):
        await asyncio.gather(*(decide(n, tick) for n in range(AGENTS)))
        if tick == 0:
            marks.first()
    marks.stop()
    marks.end("agentscope")


asyncio.run(main())
"""

CONCORDIA = """
import numpy as np
from concordia.associative_memory.basic_associative_memory import AssociativeMemoryBank
from concordia.contrib.language_models.openai.gpt_model import GptLanguageModel
from concordia.prefabs.entity import minimal
from concordia.typing.entity import choice_action_spec
from concordia.utils.concurrency import map_parallel

marks.begin()
model = GptLanguageModel("m", api_key="none", api_base=URL)
people = []
for n in range(AGENTS):
    params = {"name": f"Person {n}", "custom_instructions": profile(n), "randomize_choices": False}
    memory = AssociativeMemoryBank(sentence_embedder=lambda text: np.ones(8))
    people.append(minimal.Entity(params=params).build(model, memory))
spec = choice_action_spec(call_to_action=QUESTION, options=("a", "b"))


def decide(n, tick):
    people[n].observe(saw(n, tick))
    return people[n].act(spec)


for tick in range(TICKS):
    for answer in map_parallel(decide, range(AGENTS), [tick] * AGENTS, max_workers=AT_ONCE):
        marks.answer(answer)
    if tick == 0:
        marks.first()
marks.stop()
marks.end("gdm-concordia")
"""

OASIS = """
import logging

os.makedirs("log")
import oasis
from camel.models import ModelFactory
from camel.types import ModelPlatformType
from oasis import ActionType, AgentGraph, LLMAction, ManualAction, SocialAgent, UserInfo


class Failures(logging.Handler):
    def emit(self, record):
        marks.error(record.getMessage())


async def main():
    logging.getLogger("social.agent").addHandler(Failures(logging.ERROR))
    marks.begin()
    model = ModelFactory.create(model_platform=ModelPlatformType.VLLM, model_type="m", url=URL)
    graph = AgentGraph()
    for n in range(AGENTS):
        about = {"user_profile": profile(n), "gender": "none", "age": 20 + n % 60, "mbti": "ISTJ", "country": "none"}
        who = UserInfo(user_name=f"p{n}", name=f"Person {n}", description="", recsys_type="reddit",
                       profile={"other_info": about})
        graph.add_agent(SocialAgent(agent_id=n, user_info=who, agent_graph=graph, model=model,
                                    available_actions=ActionType.get_default_reddit_actions()))
    town = oasis.make(agent_graph=graph, platform=oasis.DefaultPlatformType.REDDIT,
                      database_path=os.path.abspath("town.db"), semaphore=AT_ONCE)
    await town.reset()
    people = [agent for _, agent in graph.get_agents()]
    for tick in range(TICKS):
        post = ManualAction(action_type=ActionType.CREATE_POST, action_args={"content": saw(tick, tick)})
        await town.step({people[0]: [post, LLMAction()]} | {agent: LLMAction() for agent in people[1:]})
        if tick == 0:
            marks.first()
    marks.stop()
    for agent in people:
        said = [one["content"] for one in agent.memory.get_context()[0] if one["role"] == "assistant"]
        for answer in said[1:]:
            marks.answer(answer)
    marks.end("camel-oasis")
    await town.close()


asyncio.run(main())
"""

AGENTSOCIETY = """
import dataclasses

import numpy as np
from agentsociety.agent import IndividualAgentBase, MemoryAttribute
from agentsociety.configs import EnvConfig, IndividualConfig, TaskLoaderConfig
from agentsociety.configs.agent import AgentConfig
from agentsociety.llm import LLMConfig
from agentsociety.simulation.individualengine import IndividualEngine
from agentsociety.storage import DatabaseConfig
from agentsociety.taskloader import Task
from fastembed import SparseEmbedding, SparseTextEmbedding


class Constant(SparseTextEmbedding):
    def __init__(self):
        pass

    def embed(self, documents, **options):
        return (SparseEmbedding(indices=np.zeros(1, int), values=np.ones(1)) for _ in documents)


class Engine(IndividualEngine):
    async def _init_embedding_task(self):
        self._embedding = Constant()  # its own is downloaded as it starts


@dataclasses.dataclass
class Evening(Task):
    tick: int = 0


class Person(IndividualAgentBase):
    StatusAttributes = [
        MemoryAttribute(name="saw", type=str, default_or_value="", description="what it last saw"),
        # its memory fails to begin with nothing to embed
        MemoryAttribute(name="town", type=str, default_or_value="on a river", description="", whether_embedding=True),
    ]
    begun = False

    async def forward(self, task_context):
        tick = task_context["tick"]
        if tick and not Person.begun:
            Person.begun = True
            marks.first()
        await self.memory.status.update("saw", saw(self.id, tick))
        seen = await self.memory.status.get("saw")
        said = await self.llm.atext_request([{"role": "system", "content": profile(self.id)},
                                             {"role": "user", "content": seen + QUESTION}])
        marks.answer(said)
        return {"answer": said}


async def main():
    evenings = [{"task_id": tick * AGENTS + n + 1, "tick": tick, "ground_truth": None}
                for tick in range(TICKS) for n in range(AGENTS)]
    json.dump(evenings, open("tasks.json", "w"))
    config = IndividualConfig(
        llm=[LLMConfig(provider="vllm", base_url=URL, api_key="none", model="m", concurrency=AT_ONCE)],
        env=EnvConfig(db=DatabaseConfig(enabled=True, db_type="sqlite", pg_dsn=None)),
        individual=AgentConfig(agent_class=Person, number=AGENTS),
        task_loader=TaskLoaderConfig(task_type=Evening, file_path="tasks.json"), logging_level="WARNING",
    )
    marks.begin()
    engine = Engine(config)
    await engine.init()
    await engine.run()
    marks.stop()
    marks.end("agentsociety")
    await engine.close()


asyncio.run(main())
"""

PROGRAMS = {
    "mesa-llm": MESA_LLM,
    "agentscope": AGENTSCOPE,
    "concordia": CONCORDIA,
    "oasis": OASIS,
    "agentsociety": AGENTSOCIETY,
}
DOES = {
    "mesa-llm": (
        "asks twice for a decision, a chain of thought and then the calls of tools, with its inbuilt tools offered, "
        "keeps a memory of the last steps in each prompt, and asks again to sum up what leaves that memory"
    ),
    "agentscope": "keeps the whole conversation of an agent and sends it with each question",
    "concordia": (
        "keeps an associative memory (its embedder here is a constant) and the last 100 observations in each prompt, "
        "logs each decision, and runs on threads"
    ),
    "oasis": (
        "runs a social platform in SQLite: each decision refreshes a feed and group messages, offers the platform's "
        "actions as tools, logs to a file, and sends the agent's whole conversation; its question is its own"
    ),
    "agentsociety": (
        "gives each decision to its engine as a task of an agent, sends it through actors of Ray, and keeps the "
        "answers of a round in SQLite (the embedder of its memories is a constant here, which nothing asks)"
    ),
}
