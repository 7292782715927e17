"""A provider that is paid: its API, by the openai client."""
