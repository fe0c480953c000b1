"""The work of the larger verbs, imported when the verb runs."""
