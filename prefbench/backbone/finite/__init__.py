"""Responses that can be listed: tables, exact fits, exact optima."""
