"""The page of a report, served on a loopback address while a sweep runs: it reads stores, and writes nothing."""
