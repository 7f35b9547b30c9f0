"""Training and embedding on several processes: rendezvous, sharding, gathering."""
