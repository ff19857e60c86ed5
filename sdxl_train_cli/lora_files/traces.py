"""Find in a text what tells of a person or a machine: paths, user and host names, addresses, keys."""

from __future__ import annotations

import getpass
import re
import socket
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from sdxl_train_cli import redact

_SHORTEST_NAME = 3
"""Letters. A shorter user name is a part of too many words."""
_GENERIC = frozenset({
    "admin", "administrator", "colab", "default", "docker", "guest", "home", "jovyan", "kaggle", "local", "localhost",
    "pod", "public", "root", "runner", "server", "shared", "ubuntu", "user", "username", "users", "workspace",
})  # fmt: skip
"""User and host names that thousands share."""
_ROOTS = (
    "Applications|Library|System|Users|Volumes|bin|boot|cache|content|data|dev|etc|home|kaggle|lib|lib64|media|mnt|opt"
    "|private|proc|root|run|runpod-volume|sbin|scratch|srv|storage|sys|teamspace|tmp|usr|var|workspace"
)
"""First folders of absolute paths. Behind any other, a second folder shows that it is a path."""
_BEFORE = r"(?<![^\W_])(?<![./:)%~\\])"
"""A path begins where no word, no other path and no address goes on."""
_SEPARATOR = r"(?:\\+|/+)"
_PATHS = (
    re.compile(rf"(?:{_BEFORE}/+|(?<=:)/)(?:{_ROOTS})(?![\w.-])"),
    re.compile(rf"(?:{_BEFORE}/+|(?<=:)/)[^\W_][^\s/\\]*/+[\w.@+~-]"),
    re.compile(r"(?<![A-Za-z0-9])[A-Za-z]:(?:\\|/(?!/))+[^\s\\/]"),
    re.compile(r"(?<![^\W_])(?<!\\)\\{2,}[\w?.][\w.$ -]*\\+[\w$.:-]"),
    re.compile(rf"{_BEFORE}~[\w.-]*{_SEPARATOR}[\w.]"),
    re.compile(r"%(?:USERPROFILE|APPDATA|LOCALAPPDATA|HOMEPATH|TEMP)%|\$\{?(?:HOME|USER|TMPDIR|PWD)\b", re.IGNORECASE),
    re.compile(r"file:/", re.IGNORECASE),
    re.compile(rf"(?<![\w.-])(?:home|Users){_SEPARATOR}[\w.-]+{_SEPARATOR}"),
)
_HOMES = re.compile(
    rf"{_SEPARATOR}(?:home|Users|Documents and Settings){_SEPARATOR}([^\\/\"'\n,;:]+)(?=[\\/\"'\n,;:]|$)"
)
_MAIL = re.compile(r"(?<![\w.+-])[A-Za-z0-9][\w.+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_ADDRESS = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])")
_INTRANET = re.compile(
    r"\b[a-z][a-z0-9+.-]*://(?:[\w-]+|[\w.-]+\.(?:local|lan|internal|home|corp))(?=[:/?#\s\"']|$)", re.IGNORECASE
)
_KEYS = re.compile(
    r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|AKIA[A-Z0-9]{12,}"
    r"|AIza[\w-]{30,}|xox[a-z]-[\w-]{10,}|glpat-[\w-]{16,}|eyJ[\w-]{6,}\.[\w-]{6,}\.[\w-]+|r8_[A-Za-z0-9]{20,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|(?:api[_-]?key|token|secret|password|passwd|authorization)[\"']?\s*[:=]\s*[\"']?[^\s\"',;}]{8,}",
    re.IGNORECASE,
)
_PASSWORD = re.compile(r"://[^\s/@]*:[^\s@]*@")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_WRAPPED = re.compile(r"[%\\]")
_DATA = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=]*")
_MOST_LAYERS = 4
"""How often a text is decoded. Nothing that a program writes is wrapped deeper."""


@dataclass(frozen=True)
class KnownNames:
    """Names that tell of whoever made a file, and of where."""

    users: frozenset[str] = field(default_factory=frozenset)
    hosts: frozenset[str] = field(default_factory=frozenset)

    def with_homes(self, texts: Iterable[str]) -> KnownNames:
        """The same, and every user whose home folder the texts name."""
        found = {name.strip() for text in texts for reading in readings(text) for name in _HOMES.findall(reading)}
        return KnownNames(self.users | found, self.hosts)


def names_here() -> KnownNames:
    """The user and the host that run this. A name that the system can't tell is left out."""
    try:
        users = frozenset({getpass.getuser()})
    except (OSError, KeyError, ImportError):
        users = frozenset()
    host = socket.gethostname()
    return KnownNames(users, frozenset({host, host.partition(".")[0]}))


def find(text: str, known: KnownNames) -> str | None:
    """What in a text tells of a person or a machine, in words. None if nothing does."""
    return next((words for reading in readings(text) for words in _found(reading, known)), None)


def is_path(text: str) -> bool:
    """Whether the whole text is one absolute path, so that its file name can be told apart."""
    plain = text.strip()
    return "\n" not in plain and any(pattern.match(plain) for pattern in _PATHS)


def file_name(path: str) -> str:
    """The last part of a path of any system."""
    return re.split(r"[\\/]+", path.strip().rstrip("\\/"))[-1]


def readings(text: str) -> tuple[str, ...]:
    """A text as it stands, and as it reads without what programs wrap it in: URL codes, escapes, wide letters."""
    plain = _DATA.sub("data:", text)
    if plain.isascii() and not _WRAPPED.search(plain):
        return (plain,)
    found = {plain: None}
    latest = [plain]
    for _ in range(_MOST_LAYERS):
        decoded = {turn(each): None for each in latest for turn in _TURNS}
        latest = [each for each in decoded if each not in found]
        if not latest:
            break
        found |= dict.fromkeys(latest)
    return tuple(found)


def _unquoted(text: str) -> str:
    found = _PERCENT.sub(lambda match: bytes.fromhex(match[1].decode()), text.encode("utf-8", "surrogatepass"))
    return found.decode("utf-8", "replace")


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), text).replace("\\/", "/")


_TURNS: tuple[Callable[[str], str], ...] = (
    _unquoted,
    _unescaped,
    lambda text: unicodedata.normalize("NFKC", text),
    lambda text: text.replace("\\\\", "\\"),
)


def _found(text: str, known: KnownNames) -> Iterator[str]:
    if any(pattern.search(text) for pattern in _PATHS):
        yield "a path of a machine"
    if _MAIL.search(text):
        yield "an e-mail address"
    if _KEYS.search(text) or redact.text(text) != text or _PASSWORD.search(text):
        yield "a password or a key"
    if _ADDRESS.search(text) or _INTRANET.search(text):
        yield "the address of a machine"
    if _names(text, known.users):
        yield "a user's name"
    if _names(text, known.hosts):
        yield "a machine's name"


def _names(text: str, names: Iterable[str]) -> bool:
    told = [name for name in names if len(name) >= _SHORTEST_NAME and name.lower() not in _GENERIC]
    if not told:
        return False
    either = "|".join(map(re.escape, told))
    return re.search(rf"(?<![^\W_])(?:{either})(?![^\W_])", text, re.IGNORECASE) is not None
