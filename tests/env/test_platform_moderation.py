"""Moderation: labels by flags and by a checker with delay and accuracy, what follows from them, and levers' bars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.env_support import Setup, acts, look, opened

from populace.env import Community, Network, Platform, World

MANY = 400


def moderated(agents: int = 6, **settings: Any) -> World:
    return opened(agents, Platform(1_000, 10, communities=[Community("news", moderators=[0])], **settings))


def post(world: World, *true: bool | None, author: int = 0) -> Any:
    return world.resolve(acts(*((author, "feed.post", {"text": "x", "true": one}) for one in true)))


def flag(world: World, post: int, *agents: int) -> Any:
    return world.resolve(acts(*((agent, "feed.flag", {"post": post}) for agent in agents)))


def labels(world: World) -> list[int]:
    return world.feed.cascades()["label"].tolist()


def test_readers_dispute_a_post_once_enough_have_flagged_it():
    world = moderated(moderation="community", flags_to_label=2)
    post(world, True, False)
    flag(world, 0, 1)
    assert labels(world) == [0, 0]
    flag(world, 0, 1, 2)
    assert labels(world) == [1, 0], "flags go by distinct readers, whatever the truth"
    assert look(world, "feed.latest", 1)[1]["label"] == "disputed"
    for mode in ("none", "third_party"):
        world = moderated(moderation=mode, flags_to_label=1)
        post(world, False)
        flag(world, 0, 1, 2, 3)
        assert labels(world) == [0]
        assert world.feed.count("flags", true=False) == 3


@pytest.mark.parametrize("delay", [0, 2])
def test_a_checker_gives_its_verdict_after_a_delay(delay):
    world = moderated(moderation="third_party", check_share=1.0, check_delay=delay)
    post(world, False, True, None)
    for _ in range(delay):
        assert labels(world) == [0, 0, 0]
        world.resolve([])
    assert labels(world) == [2, 0, 0]


def test_a_share_is_checked_and_a_share_of_verdicts_is_right():
    world = moderated(moderation="third_party", check_share=0.5, check_accuracy=0.8, check_delay=0)
    post(world, *[False, True] * MANY)
    found = world.feed.cascades()
    verdict = world.feed.records.of_posts("verdict", found["post"])
    checked = verdict >= 0
    right = verdict[checked] == found["truth"][checked]
    assert np.mean(checked) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(2 * MANY))
    assert np.mean(right) == pytest.approx(0.8, abs=4 * 0.4 / np.sqrt(MANY))
    assert np.array_equal(found["label"] == 2, verdict == 0)


def test_a_hybrid_checks_what_is_disputed_and_clears_what_is_true():
    world = moderated(moderation="hybrid", flags_to_label=1, check_delay=1, strikes_to_suspend=2)
    post(world, True, False)
    flag(world, 0, 1)
    flag(world, 1, 1)
    assert labels(world) == [0, 1], "the first is cleared as the second is disputed"
    world.resolve([])
    assert labels(world) == [0, 2]
    flag(world, 0, 2, 3)
    assert labels(world) == [0, 2], "what was found true is not disputed again"
    assert not world.feed.barred(0, world.tick), "the strike of what was cleared is taken back"
    assert world.feed.count("labels") == 2


def test_labels_and_removals_reach_shares_and_come_with_later_ones():
    world = moderated(moderation="community", flags_to_label=1, removal="nothing")
    post(world, False)
    world.resolve(acts((1, "feed.share", {"post": 0})))
    flag(world, 1, 2)
    world.resolve(acts((3, "feed.share", {"post": 0})))
    assert [one["label"] for who in (0, 1, 3) for one in look(world, "feed.by", 5, author=who)] == ["disputed"] * 3


def test_a_removal_outlasts_the_original():
    world = opened(3, Platform(4, 4, moderation="community", flags_to_label=1, removal="labelled"))
    post(world, False)
    world.resolve(acts((1, "feed.share", {"post": 0})))
    flag(world, 0, 2)
    post(world, True, True, True)
    assert not world.feed.posts.kept(0)
    assert world.feed.posts.kept(1)
    assert look(world, "feed.by", 2, author=1) == []


def test_what_the_checker_clears_comes_back_and_what_a_moderator_removed_does_not():
    settings: dict[str, Any] = {"moderation": "hybrid", "flags_to_label": 1, "check_delay": 1, "removal": "labelled"}
    world = moderated(**settings)
    world.resolve(acts(*((1, "feed.post", {"text": "x", "true": True, "community": "news"}) for _ in range(2))))
    world.resolve(acts((2, "feed.flag", {"post": 0}), (2, "feed.flag", {"post": 1})))
    assert look(world, "feed.latest", 3) == []
    world.resolve(acts((0, "feed.remove", {"post": 1})))
    assert [one["id"] for one in look(world, "feed.latest", 3)] == [0]


def test_strikes_suspend_for_a_while_or_for_good():
    for ticks in (2, 0):
        settings: dict[str, Any] = {"strikes_to_suspend": 2, "suspension_ticks": ticks, "notify": True}
        world = moderated(moderation="third_party", check_share=1.0, check_delay=0, **settings)
        assert post(world, False, True).emissions == [
            (0, {"post": 0, "label": "false", "removed": False, "suspended": False})
        ]
        assert post(world, False).emissions[0][1]["suspended"]
        for _ in range(2):
            assert look(world, "feed.latest", 1) == [], "who is suspended reaches nobody"
            assert [reason for _, reason in post(world, True).refused] == ["suspended"]
        assert [reason for _, reason in post(world, True).refused] == ([] if ticks else ["suspended"])
        assert (len(look(world, "feed.latest", 1)) > 0) == bool(ticks)


def test_labelled_posts_are_kept_from_a_share_of_readers():
    agents = MANY
    world = moderated(agents, moderation="third_party", check_share=1.0, check_delay=0, downrank=0.75)
    post(world, False, True)
    seen = [{one["id"] for one in row["feed.shown"]} for row in world.observe(range(1, agents))]
    assert all(1 in row for row in seen)
    assert np.mean([0 in row for row in seen]) == pytest.approx(0.25, abs=4 * 0.44 / np.sqrt(agents))
    world.resolve([])
    assert seen == [{one["id"] for one in row["feed.shown"]} for row in world.observe(range(1, agents))]


def test_levers_suspend_authors_and_cut_edges_while_they_hold():
    network, feed = Network.edges(Setup(3), [0, 0], [1, 2]), Platform(sees="followed")
    world = opened(3, network, feed)
    world.resolve(acts((1, "feed.post", {"text": "x"}), (2, "feed.post", {"text": "y"})))

    def seen() -> list[int]:
        return [one["author"] for one in world.observe([0])[0]["feed.shown"]]

    assert sorted(seen()) == [1, 2]
    feed.set_parameter("suspended", [1])
    assert seen() == [2]
    assert world.resolve(acts((1, "feed.post", {"text": "z"}))).refused[0][1] == "suspended"
    feed.set_parameter("suspended", [])
    network.set_parameter("cut", [(0, 2), (2, 1)])
    assert seen() == [1]
    assert look(world, "network.neighbors", 0) == [1]
    assert (network.edge_count, network.in_degree().tolist()) == (1, [0, 1, 0])
    before = world.digests()["network"]
    network.set_parameter("cut", [])
    assert sorted(seen()) == [1, 2]
    assert world.digests()["network"] == before, "what a lever cuts is no change of the network's state"
    with pytest.raises(Exception, match=r"cut names \[0, 3\], but ids go from 0 to 2"):
        network.set_parameter("cut", [(0, 3)])


def test_a_lever_switches_moderation_on_and_off():
    world = moderated(check_share=1.0, check_delay=1)
    post(world, False)
    world.feed.set_parameter("moderation", "third_party")
    post(world, False)
    world.resolve([])
    assert labels(world) == [0, 2], "what was posted before is not taken up"
    post(world, False)
    world.feed.set_parameter("moderation", "none")
    world.resolve([])
    assert labels(world) == [0, 2, 0], "what is due while nobody checks gets no verdict"


def test_triggers_read_flags_strikes_and_reactions_by_agent():
    world = moderated(agents=4, moderation="community", flags_to_label=2, strikes_to_suspend=5)
    post(world, False, True, author=1)
    post(world, False, author=2)
    world.resolve(acts((0, "feed.flag", {"post": 0}), (3, "feed.flag", {"post": 0}), (3, "feed.flag", {"post": 2})))
    world.resolve(acts((3, "feed.flag", {"post": 1}), (0, "feed.like", {"post": 2})))
    assert world.signal("feed.flagged").tolist() == [0, 3, 1, 0]
    assert world.signal("feed.strikes").tolist() == [0, 1, 0, 0]
    assert world.signal("feed.engaged").tolist() == [0, 0, 1, 0]
