"""What looks after the rest: checks, measurements of the machine, exports, profiles, stored stages."""
