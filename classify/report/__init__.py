"""The report: a run as one page, and several runs compared. Numbers, drawings and templates apart."""
