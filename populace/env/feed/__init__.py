"""A message feed: posts, replies, reposts and likes, and the timelines that agents read. Pure.

`part` is the part of the world that authors use, as `populace.env.Feed`; `posts` holds the posts in columns and
`timeline` finds the newest ones for many readers at once.

`platform` is a feed with all that a platform has, as `populace.env.Platform`: `options` are its settings, `acting` its
actions, `records` (of `tables`) what it keeps beside the posts, `checking` its moderation, `cascades` its measures.
`ranking` finds the best posts for many readers at once, by `recommenders` that are given `candidates`. Only the parts
and what authors of recommenders need are for other rooms.
"""
