"""Submissions: the zip that is handed in, and the scoreboard of what came back."""
