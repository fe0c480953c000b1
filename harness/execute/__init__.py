"""Runs trials: executors, worker processes, memory, stops and retries."""
