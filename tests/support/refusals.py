"""Refusals: what a `UserError` says, in one line."""

import pytest

from prefbench.errors import UserError


def refusal(function, *args, **more) -> str:
    """The one line with which a call is refused."""
    with pytest.raises(UserError) as caught:
        function(*args, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message
