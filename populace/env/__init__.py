"""The environment service and its parts. Pure: state is NumPy columns, and nothing here does I/O."""

from populace.core.judging import Agreement, Criterion, Judgement, cohen_kappa, judge, judge_all
from populace.env.cases.bayes import BayesNet
from populace.env.cases.caseset import CaseSet, Fact
from populace.env.cases.part import Cases
from populace.env.city.going import Mode
from populace.env.city.grid import Kind
from populace.env.city.hazard import GridField, Hazard, Storm
from populace.env.city.part import City
from populace.env.city.places import Places
from populace.env.clock import Clock
from populace.env.digest import RowDigests
from populace.env.economy.part import Economy
from populace.env.feed.candidates import Candidates
from populace.env.feed.options import Community, PlatformSettings
from populace.env.feed.part import Feed
from populace.env.feed.platform import Platform
from populace.env.feed.recommenders import Recommender
from populace.env.fields import Fields
from populace.env.games.part import Games
from populace.env.market import Bargain, Directory, Flow, OrderBook
from populace.env.master.part import Master
from populace.env.master.stage import Stage
from populace.env.master.verbs import BASIC_VERBS, Verb, telling_rule, words_rule
from populace.env.network.part import Network
from populace.env.part import Action, Batch, LookFailed, Opening, Part, action, in_any_order, query, signal
from populace.env.rounds import Exchange, LastRound, Round
from populace.env.talk.part import Talk
from populace.env.tools.domain import Domain, PolicyRule, Task
from populace.env.tools.grading import pass_hat
from populace.env.tools.part import Tools
from populace.env.tools.tables import Refusal
from populace.env.world import Resolved, World

__all__ = [
    "BASIC_VERBS",
    "Action",
    "Agreement",
    "Bargain",
    "Batch",
    "BayesNet",
    "Candidates",
    "CaseSet",
    "Cases",
    "City",
    "Clock",
    "Community",
    "Criterion",
    "Directory",
    "Domain",
    "Economy",
    "Exchange",
    "Fact",
    "Feed",
    "Fields",
    "Flow",
    "Games",
    "GridField",
    "Hazard",
    "Judgement",
    "Kind",
    "LastRound",
    "LookFailed",
    "Master",
    "Mode",
    "Network",
    "Opening",
    "OrderBook",
    "Part",
    "Places",
    "Platform",
    "PlatformSettings",
    "PolicyRule",
    "Recommender",
    "Refusal",
    "Resolved",
    "Round",
    "RowDigests",
    "Stage",
    "Storm",
    "Talk",
    "Task",
    "Tools",
    "Verb",
    "World",
    "action",
    "cohen_kappa",
    "in_any_order",
    "judge",
    "judge_all",
    "pass_hat",
    "query",
    "signal",
    "telling_rule",
    "words_rule",
]
