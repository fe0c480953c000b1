"""Seeds as replication: one record per network, and networks compared in pairs of seeds."""
