"""Typed tools on a database: `Tools` is the part, `serve` and `be_served` the two sides of a task in a tick."""

from populace.env.tools.domain import Domain, PolicyRule, Task
from populace.env.tools.grading import pass_hat
from populace.env.tools.part import Tools
from populace.env.tools.serving import be_served, serve
from populace.env.tools.tables import Refusal

__all__ = ["Domain", "PolicyRule", "Refusal", "Task", "Tools", "be_served", "pass_hat", "serve"]
