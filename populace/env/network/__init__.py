"""Who is tied to whom: the part of the world that holds the ties, and the graphs it may begin with. Pure.

`part` is what authors use, as `populace.env.Network`; `graphs` and `homophily` draw ties from keyed streams,
`assortativity` measures them, `csr` is the sparse form that all share.
"""
