"""Consent to send something to servers off this machine, and the environment variables that hold their keys.

Both are said by whoever starts a run: on the command line, or in a configuration file of their own. A run,
sweep or gate file and a record that is run again come from anybody, so they can ask for a server, and
no more: what they name is refused unless it was allowed here, and no key's variable is taken from them.

    [hosts]
    "api.example.com" = "EXAMPLE_API_KEY"
    "10.0.0.5:8000" = ""      # a server without a key
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prefbench.errors import UserError
from prefbench.registry import suggest

KEY_OPTION = "_key_env"
"""Ending of an option that names the variable of a key; a specification never holds the key itself."""
URL_OPTION = "_url"
"""Ending of an option that is the address of a server."""

_PORTS = {"http": 80, "https": 443}
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_HOST = re.compile(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]")

_said: dict[str, str | None] = {}
_announced: set[tuple[str, str | None]] = set()


# ------------------------------------------------------------------------------------------ saying it


def allow(hosts: Mapping[str, str | None]) -> None:
    """From now on these servers may be sent something by this process, and those of the user's own file.

    Args:
        hosts: `NAME` or `NAME:PORT`, and the environment variable that holds the key, or none. What was
            allowed before is forgotten.

    Raises:
        UserError: one of them is no host, or its variable no name of a variable.
    """
    checked = dict(_checked(host, variable, "allow") for host, variable in hosts.items())
    _said.clear()
    _said.update(checked)


def allowed() -> dict[str, str | None]:
    """Every server that may be sent something, and the variable of its key, also of the user's own file.

    Raises:
        UserError: the user's own file cannot be read.
    """
    users = _of_user()
    return users | {host: variable or users.get(host) for host, variable in _said.items()}


def typed() -> dict[str, str | None]:
    """The addresses and variables that `allow` was given."""
    return dict(_said)


def from_command_line(items: Iterable[str], sets: dict[str, dict[str, Any]]) -> dict[tuple[str, str], str]:
    """Allow what somebody typed: `--allow-host` items, and the addresses among `--set` items.

    Args:
        items: `HOST` or `HOST=VARIABLE`.
        sets: options by section, as typed; the variables of keys are taken out of them.

    Returns:
        Those variables by section and option, for `give_keys`.

    Raises:
        UserError: an item is no host, or names the key itself.
    """
    hosts: dict[str, str | None] = {}
    for item in items:
        host, _, variable = item.partition("=")
        _add(hosts, host, variable or None)
    keys: dict[tuple[str, str], str] = {}
    for section, options in sets.items():
        for url in addresses(options).values():
            _add(hosts, place_of(url), None)
        for name in [name for name in options if name.endswith(KEY_OPTION)]:
            keys[section, name] = options.pop(name)
    allow(hosts)
    return keys


def give_keys(keys: Mapping[tuple[str, str], str], options: Mapping[str, Mapping[str, Any]]) -> None:
    """Allow each typed variable for the server that the specification names beside it.

    Args:
        keys: from `from_command_line`.
        options: of a specification, by section.

    Raises:
        UserError: there is no such option, or its server was not allowed.
    """
    hosts = dict(_said)
    for (section, name), variable in keys.items():
        known = options.get(section, {})
        if name not in known:
            raise UserError(f"unknown option {section}.{name}.{suggest(name, known)}")
        url = known.get(name.removesuffix(KEY_OPTION) + URL_OPTION)
        if not (isinstance(url, str) and _is_address(url)):
            raise UserError(
                f"option {section}.{name}: there is no address that the key is for: set it as well."
            )
        if variable not in ("", "none"):
            what = f"{section}.{name.removesuffix(KEY_OPTION)}{URL_OPTION} = {url!r}"
            variable_of(url, what)
            refuse_clear(url, what)
            _add(hosts, place_of(url), variable)
    allow(hosts)


def _add(hosts: dict[str, str | None], host: str, variable: str | None) -> None:
    """Put a host to those that are allowed; a variable for it, once said, stays."""
    host, variable = _checked(host, variable, "--allow-host")
    before = hosts.get(host)
    if before and variable and before != variable:
        raise UserError(f"--allow-host {host}: {before} and {variable} cannot both hold its key: name one.")
    hosts[host] = variable or before


def config_path() -> Path:
    """The user's own file: `config.toml` in `$PREFBENCH_CONFIG`, else in the folder of configurations."""
    own, users = os.environ.get("PREFBENCH_CONFIG"), os.environ.get("XDG_CONFIG_HOME")
    folder = Path(own) if own else Path(users or "~/.config") / "prefbench"
    return folder.expanduser() / "config.toml"


def _of_user() -> dict[str, str | None]:
    try:
        path = config_path()
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, RuntimeError):  # the last: there is no home
        return {}
    except (OSError, ValueError) as error:
        raise UserError(
            f"your configuration '{path}' cannot be read ({error}): make it readable, or remove it."
        ) from None
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"your configuration '{path}' is not readable TOML ({error}): mend it, or remove it."
        ) from None
    hosts = table.pop("hosts", {})
    if table or not isinstance(hosts, dict):
        raise UserError(
            f"your configuration '{path}' may hold a table [hosts] and nothing else: take the rest out."
        )
    return dict(_checked(host, variable or None, f"'{path}'") for host, variable in hosts.items())


def _checked(host: str, variable: Any, where: str) -> tuple[str, str | None]:
    """A host as `place_of` writes it, and its variable."""
    if variable is not None and not (isinstance(variable, str) and _VARIABLE.fullmatch(variable)):
        # Not quoted: whoever puts the key itself there must not see it in a message.
        raise UserError(
            f"{where} {host}: name the environment variable in capitals that holds the key, never the key."
        )
    name, colon, port = host.strip().lower().rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host.strip().lower(), ""
    if not _HOST.fullmatch(name) or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise UserError(f"{where} {host}: that is no host: write NAME or NAME:PORT, without https://.")
    return f"{name}:{port}" if port else name, variable


# ---------------------------------------------------------------------------------------- looking it up


def is_local(url: str) -> bool:
    """True if an address is on loopback."""
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def place_of(url: str) -> str:
    """`NAME` or `NAME:PORT` of an address, the port only where it is not the usual one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    return name if parts.port in (None, _PORTS.get(parts.scheme)) else f"{name}:{parts.port}"


def variable_of(url: str, what: str) -> str | None:
    """The environment variable with the key of a server that may be sent something; none needs none.

    Args:
        url: its address.
        what: how a message calls it, such as `the judge at https://api.example.com/v1`.

    Raises:
        UserError: it is not on this machine, and nobody has allowed it; or its key would go in the clear.
    """
    place, hosts = place_of(url), allowed()
    if place in hosts:
        if hosts[place] is not None:
            refuse_clear(url, what)
        return hosts[place]
    if is_local(url):
        return None
    raise UserError(
        f"{what} is not on this machine: say --allow-host {place}, or --allow-host {place}=VARIABLE with the "
        f"environment variable that holds its key, or put it into {config_path()} "
        "(docs/faq.md#a-server-off-this-machine)."
    )


def refuse_clear(url: str, what: str) -> None:
    """Refuse to send a key to an address that anybody on the way could read it from.

    Args:
        url: of a server that needs a key.
        what: see `variable_of`.

    Raises:
        UserError: it is neither on this machine nor behind https.
    """
    if not is_local(url) and urlsplit(url).scheme != "https":
        raise UserError(
            f"{what} is sent no key, as anybody on the way could read it: use https://, or allow the host "
            "without a key."
        )


def announce(url: str, variable: str | None) -> None:
    """Say once, on standard error, where texts and a key go, before they do."""
    if (is_local(url) and variable is None) or (place_of(url), variable) in _announced:
        return
    _announced.add((place_of(url), variable))
    key = f"with the key in {variable}" if variable else "without a key"
    print(f"prefbench: prompts and responses are sent to {place_of(url)}, {key}", file=sys.stderr, flush=True)


def announce_options(options: Mapping[str, Mapping[str, Any]]) -> None:
    """`announce` of every server among the options of a specification, for what other processes send."""
    for chosen in options.values():
        for name, url in addresses(chosen).items():
            announce(url, variable_of(url, name))


# ----------------------------------------------------------------------------- options that name servers


def addresses(options: Mapping[str, Any]) -> dict[str, str]:
    """Options that are addresses of servers, by name."""
    return {
        name: value
        for name, value in options.items()
        if name.endswith(URL_OPTION) and isinstance(value, str) and _is_address(value)
    }


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.scheme in _PORTS and parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check_options(options: Mapping[str, Mapping[str, Any]], where: str = "") -> None:
    """Refuse servers among the options that nobody has allowed.

    Args:
        options: of a specification, by section.
        where: the file that they may come from, if any.

    Raises:
        UserError: one line on the first of them.
    """
    for section, chosen in options.items():
        for name, url in addresses(chosen).items():
            variable_of(url, f"{where}{': ' if where else ''}{section}.{name} = {url!r}")


def without_keys(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without the variables of keys that a record of an older version or a stranger's may name."""
    return {name: value for name, value in options.items() if not name.endswith(KEY_OPTION)}
