"""Decides which launches are left and measures them: the room that knows plan and store."""
