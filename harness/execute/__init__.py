"""Where trials run: executors, worker processes, memory, stops and retries."""
