"""Pure functions of records: launches, networks, findings, verdicts and tables."""
