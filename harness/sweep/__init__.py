"""Many trials: the plan and the executors. Nothing here measures, stores or prints."""
