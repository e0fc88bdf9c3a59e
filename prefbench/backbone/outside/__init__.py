"""Policies that were trained elsewhere: folders of weights, tables of responses, servers."""
