"""Looking after the rest: checks, measurements of the machine, exports, profiles, templates, stages."""
