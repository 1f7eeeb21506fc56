"""A message feed: posts, replies, reposts and likes, and the timelines that agents read. Pure.

`part` is the part of the world that authors use, as `populace.env.Feed`; `posts` holds the posts in columns and
`timeline` finds the newest ones for many readers at once. Only the part is for other rooms.
"""
