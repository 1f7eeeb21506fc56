"""Whether turns of a run may begin before their tick is open: by its society, its settings and its levers. Pure."""

from __future__ import annotations

from populace.agents.society import Society
from populace.core.errors import ScenarioError, SettingsError
from populace.env import World
from populace.env.network.part import Network
from populace.interventions.levers import SetLever, label_of
from populace.kernel.influence import Influence, hold_still, influence_in, over_everybody
from populace.settings import Settings
from populace.settings.minds import policy_of


def ticks_ahead(society: Society, settings: Settings, trace_version: int) -> tuple[int, str]:
    """How many ticks turns may run ahead, and why they may not where the society would let them: '' where they do."""
    most = settings.limits.ticks_ahead
    if society.influence is None or not most:
        return 0, ""
    why = _kept_together_by(society, settings, trace_version)
    if not why:
        return most, ""
    return 0, f"{society.name} declares who may influence whom, and this run goes tick by tick all the same: {why}"


def _kept_together_by(society: Society, settings: Settings, trace_version: int) -> str:
    if trace_version < 2:
        return "it is of an older populace"
    for at, lever in enumerate(settings.levers):
        if lever.when is not None and lever.until is None:
            return (
                f"lever {label_of(lever, at)!r} has a trigger, which reads the whole world at every tick's end; with "
                "`until`, turns go on early again from that tick on"
            )
    if policy_of(settings) is not None:
        return "surrogates learn from everybody's answers as each tick ends"
    return ""


def declared_influence(society: Society, settings: Settings, world: World, *, ahead: int) -> Influence | None:
    """Who may influence whom in an opened world, whose networks then stay as they are; None where nobody says.

    Raises ScenarioError where turns are to run ahead and something in the world may be over everybody, and
    SettingsError for a lever that would let ties change.
    """
    if society.influence is None:
        return None
    found = influence_in(world, society.influence)
    hold_still(world)
    networks = {f"world.{name}.frozen" for name, part in world.parts.items() if isinstance(part, Network)}
    for at, lever in enumerate(settings.levers):
        if isinstance(lever, SetLever) and (keys := networks & lever.set.keys()):
            raise SettingsError(
                f"lever {label_of(lever, at)!r}: sets {min(keys)}, and where Society(influence=...) says who may "
                "influence whom, the ties of networks stay as they are."
            )
    if ahead and (what := over_everybody(world)) is not None:
        raise ScenarioError(
            f"{society.name}: Society(influence=...) lets turns begin before their tick is open, and {what}. Run it "
            "tick by tick with `--set limits.ticks_ahead=0`, or leave `influence` out."
        )
    return found
