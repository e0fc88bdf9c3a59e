"""What tests of the page share: the board that it shows, and its text."""

import pytest

from prefbench.report.page import page
from support.report_page import make_board


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return make_board(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def text(runs):
    return page(runs)
