"""The environment service and its parts. Pure: state is NumPy columns, and nothing here does I/O."""

from populace.env.cases.bayes import BayesNet
from populace.env.cases.caseset import CaseSet, Fact
from populace.env.cases.judging import Criterion, cohen_kappa
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
from populace.env.market import Flow, OrderBook
from populace.env.network.part import Network
from populace.env.part import Action, Batch, LookFailed, Opening, Part, action, query, signal
from populace.env.rounds import Exchange, LastRound, Round
from populace.env.world import Resolved, World

__all__ = [
    "Action",
    "Batch",
    "BayesNet",
    "Candidates",
    "CaseSet",
    "Cases",
    "City",
    "Clock",
    "Community",
    "Criterion",
    "Economy",
    "Exchange",
    "Fact",
    "Feed",
    "Fields",
    "Flow",
    "Games",
    "GridField",
    "Hazard",
    "Kind",
    "LastRound",
    "LookFailed",
    "Mode",
    "Network",
    "Opening",
    "OrderBook",
    "Part",
    "Places",
    "Platform",
    "PlatformSettings",
    "Recommender",
    "Resolved",
    "Round",
    "RowDigests",
    "Storm",
    "World",
    "action",
    "cohen_kappa",
    "query",
    "signal",
]
