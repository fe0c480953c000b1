"""The conformance checks for backends."""
