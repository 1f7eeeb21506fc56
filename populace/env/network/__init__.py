"""Who is tied to whom: graphs, homophily, and the part of the world that holds the ties."""
