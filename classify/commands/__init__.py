"""The commands: each function reads options, calls one function, prints."""
