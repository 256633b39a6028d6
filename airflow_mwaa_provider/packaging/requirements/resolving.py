# SPDX-License-Identifier: Apache-2.0
"""Which versions and files an image's pip would take: uv resolves for any image, pip on the image's own Python.

uv resolves for another Python and platform than its own, and lists files and sizes without downloading them. It is run
as a program, and is not a dependency of this package. pip resolves only for the interpreter that it runs in.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from airflow_mwaa_provider.exceptions import ResolverUnavailable
from airflow_mwaa_provider.packaging import image_constraints
from airflow_mwaa_provider.packaging.image_constraints import normalized
from airflow_mwaa_provider.packaging.masking import masked
from airflow_mwaa_provider.packaging.requirements.downloading import bundle_of
from airflow_mwaa_provider.packaging.requirements.messages import (
    ResolverWarning,
    constraints_for_pip,
    pip_blames_requirements,
    pip_reason,
    signs_in,
    skipped_indexes,
    unreachable_reason,
    uv_blames_requirements,
    uv_reason,
    warnings_in,
)
from airflow_mwaa_provider.packaging.requirements.wheel_metadata import may_be_refused, why_refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow_mwaa_provider.packaging.requirements.target import Target

__all__ = ["Asked", "Package", "PackageFile", "Refused", "Resolution", "Resolver", "Unresolvable", "find_resolver"]

_TIMEOUT_S = 600
_MOST_REFUSED = 20
"""How many rounds of versions with metadata that pip refuses are skipped."""
_OLDEST_UV = (0, 7)
"""The first version whose ``pip compile`` writes pylock.toml."""
_NOT_FROM_THE_SHELL = frozenset(
    f"UV_{name}"
    for name in (
        *(
            "CONSTRAINT",
            "OVERRIDE",
            "EXCLUDE",
            "EXCLUDE_NEWER",
            "RESOLUTION",
            "PRERELEASE",
            "REQUIRE_HASHES",
            "NO_BUILD",
        ),
        *("NO_DEPS", "NO_BUILD_PACKAGE", "NO_BINARY_PACKAGE", "EXCLUDE_NEWER_PACKAGE", "FORK_STRATEGY"),
        *("NO_BINARY", "ONLY_BINARY", "PYTHON", "BUILD_CONSTRAINT", "CUSTOM_COMPILE_COMMAND", "TORCH_BACKEND"),
    )
)
"""Settings of uv that would change which versions it takes."""
_PIP_FROM_THE_SHELL = frozenset(
    f"PIP_{name}"
    for name in (
        *("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "TRUSTED_HOST", "CERT", "CLIENT_CERT", "PROXY"),
        *("KEYRING_PROVIDER", "RETRIES", "TIMEOUT", "DEFAULT_TIMEOUT", "CACHE_DIR", "NO_CACHE_DIR", "CONFIG_FILE"),
    )
)
"""Settings of pip that name the places of packages, not their versions."""
_PIP_AS_ON_THE_IMAGE = {
    **dict.fromkeys(("PIP_NO_DEPS", "PIP_PRE", "PIP_PREFER_BINARY", "PIP_REQUIRE_HASHES"), "0"),
    **dict.fromkeys(("PIP_NO_BINARY", "PIP_ONLY_BINARY"), ":none:"),
    "PIP_CONSTRAINT": os.devnull,
}
"""Settings for versions, with pip's own defaults: variables override pip.conf."""
_CONFIG_OF_INDEXES = frozenset(
    (
        *("index", "index-url", "extra-index-url", "find-links", "no-index", "index-strategy", "keyring-provider"),
        *("native-tls", "system-certs", "allow-insecure-host", "offline", "cache-dir", "http-proxy", "https-proxy"),
    )
)
"""Settings in uv.toml that name the places of packages."""
_ANNOTATED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>\S+)(?:\s+# via (?P<via>.*))?$")
_TIMES = {"SOURCE_DATE_EPOCH": "315532800"}
"""With it, most builds produce the same wheel again."""


@dataclass(frozen=True)
class Refused:
    """A version whose metadata pip refuses.

    :param needed: a dependency in its metadata that is not a valid requirement.
    """

    name: str
    version: str
    needed: str


class Unresolvable(Exception):
    """No versions satisfy what was asked; the message is the resolver's reason, on one line.

    :param refused: versions that would satisfy it if pip did not refuse their metadata.
    """

    def __init__(self, reason: str, refused: tuple[Refused, ...] = ()) -> None:
        super().__init__(reason)
        self.refused = refused
        self.signs = signs_in(reason)


@dataclass(frozen=True)
class Asked:
    """What is to be resolved.

    :param requirements: lines without options.
    :param constraints: lines of a constraints file.
    :param preferred: versions that are kept if the requirements allow it, as pip keeps what is installed.
    :param kept: versions that were found for the same requirements, as ``name==version``: they are kept unless pip
        refuses them.
    :param options: the file's options for indexes: pairs of a long option's name and value.
    :param python: another Python than the image's.
    :param from_cache: the index is not asked; only what the resolver has in its cache can be taken.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    preferred: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    no_dependencies: bool = False
    python: str | None = None
    from_cache: bool = False


@dataclass(frozen=True)
class PackageFile:
    """A wheel or source archive.

    :param address: URL, or path on this machine.
    :param size_bytes: None if the index does not report it.
    :param hashes: those that the index reports, as ``algorithm:digest`` in lower case.
    :param uploaded: None if the index does not report it.
    """

    name: str
    address: str
    size_bytes: int | None = None
    hashes: tuple[str, ...] = ()
    uploaded: datetime | None = None

    @property
    def sha256(self) -> str | None:
        """Its SHA-256 in hexadecimal digits; None if the index does not report it."""
        return next((each.partition(":")[2] for each in self.hashes if each.startswith("sha256:")), None)


@dataclass(frozen=True)
class Package:
    """A package that would be installed.

    :param wheel: the best of its wheels for the image; None if there is none.
    :param source: its source archive; None if there is none.
    :param via: names of packages that need it; lines of the file are not among them.
    :param others: its other wheels that fit the image, the best first.
    """

    name: str
    version: str
    wheel: PackageFile | None = None
    source: PackageFile | None = None
    via: tuple[str, ...] = ()
    others: tuple[PackageFile, ...] = ()


@dataclass(frozen=True)
class Resolution:
    """What would be installed, by normalized name, and the resolver's warnings."""

    packages: Mapping[str, Package]
    warnings: tuple[ResolverWarning, ...] = ()


@dataclass(frozen=True)
class Resolver(ABC):
    """A program that resolves requirements for an image.

    :param name: its name and version.
    :param wheels: a folder of wheels that it uses beside those of the index.
    """

    target: Target
    name: str = ""
    wheels: Path | None = None
    command: tuple[str, ...] = field(default=(), repr=False)
    looked_at: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    """By the address of a wheel: the requirement for which pip refuses its metadata; empty if there is none."""

    keeps_preferred = False
    """Whether it can keep preferred versions; otherwise the lines that move pins cannot be named."""

    @abstractmethod
    def resolve(self, asked: Asked) -> Resolution:
        """Return packages with their files.

        :raises Unresolvable: no versions satisfy it.
        :raises ResolverUnavailable: the index cannot be reached, or the program fails.
        """

    def trace(self, asked: Asked) -> Resolution:
        """Return packages with what needs them, in place of their files. Only here do preferred versions count.

        :raises Unresolvable: no versions satisfy it.
        :raises ResolverUnavailable: the index cannot be reached, or the program fails.
        """
        return self.resolve(asked)

    def trace_again(self, asked: Asked, found: Resolution) -> Resolution:
        """Return the result of :meth:`trace` for versions that were just found for the same question.

        :raises Unresolvable: no versions satisfy it.
        :raises ResolverUnavailable: the index cannot be reached, or the program fails.
        """
        return self.trace(_again(asked, found))

    def build(self, source: Path, folder: Path) -> Path:
        """Build a wheel of a source archive into a folder, on this machine, and return its path.

        :raises Unresolvable: it cannot be built.
        :raises ResolverUnavailable: the index cannot be reached, or the program fails.
        """
        with tempfile.TemporaryDirectory(prefix="airflow-mwaa-") as built:
            self._build(source, built)
            [wheel] = Path(built).glob("*.whl")
            return Path(shutil.move(wheel, folder / wheel.name))

    @abstractmethod
    def _build(self, source: Path, folder: str) -> None:
        """Build a wheel into a folder."""

    def _run(self, arguments: Iterable[str | Path], folder: str, environment: Mapping[str, str]) -> str:
        command = [*self.command, *map(str, arguments)]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                timeout=_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise _unavailable(
                f"{self.name} did not finish within {_TIMEOUT_S // 60} minutes.",
                "Check the connection to the package index, and pin more of the requirements.",
            ) from None
        except OSError as error:
            raise _unavailable(f"{self.name} cannot be started: {error.strerror}.", "Reinstall uv.") from error
        if done.returncode == 0:
            return done.stderr
        # pip names the indexes that it has skipped nowhere else.
        output = masked("\n".join([done.stderr, *skipped_indexes(done.stdout)])).replace(f"{folder}{os.sep}", "")
        if unreachable := unreachable_reason(output):
            raise _unavailable(
                f"The package index cannot be reached: {unreachable[:300].rstrip('. ')}.",
                "Correct its address where it is named: in the file, or in UV_DEFAULT_INDEX or PIP_INDEX_URL. It may "
                "need a password, or a proxy in HTTPS_PROXY.",
            )
        if done.returncode > 0 and self._blames_requirements(output):
            raise Unresolvable(self._reason(output))
        last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it printed nothing")
        how = f"was ended by signal {-done.returncode}" if done.returncode < 0 else f"failed: {last[:200].rstrip('. ')}"
        raise _unavailable(f"{self.name} {how}.", "The requirements were not resolved: fix this, and try again.")

    def _blames_requirements(self, output: str) -> bool:
        """Return whether the program has failed because of the requirements."""
        raise NotImplementedError

    def _reason(self, output: str) -> str:
        """Return the program's explanation on one line."""
        raise NotImplementedError


class _Uv(Resolver):
    keeps_preferred = True

    def resolve(self, asked: Asked) -> Resolution:
        refused: list[Refused] = []
        for _ in range(_MOST_REFUSED):
            try:
                found = self._files(self._without(asked, refused))
            except Unresolvable as error:
                raise Unresolvable(str(error), tuple(self._blamed(asked, refused))) from None
            more = self._refused(found.packages.values())
            if not more:
                return found
            refused += more
        raise Unresolvable(f"pip refuses the metadata of {_MOST_REFUSED} versions", tuple(refused))

    @staticmethod
    def _without(asked: Asked, refused: Iterable[Refused]) -> Asked:
        """Return a question for other versions: pip, too, continues with another one if it refuses a version."""
        left_out = tuple(f"{each.name}!={each.version}" for each in refused)
        names = {each.name for each in refused}
        kept = tuple(each for each in asked.kept if normalized(each.partition("==")[0]) not in names)
        return replace(asked, constraints=(*asked.constraints, *left_out), kept=kept)

    def _blamed(self, asked: Asked, refused: Sequence[Refused]) -> Iterator[Refused]:
        """Return the first version of each package that has no other."""
        by_name: dict[str, list[Refused]] = defaultdict(list)
        for each in refused:
            by_name[each.name].append(each)
        for same in by_name.values():
            try:
                if len(by_name) > 1:
                    self._files(self._without(asked, same))
                    continue
            except Unresolvable:
                pass
            yield same[0]

    def _refused(self, packages: Iterable[Package]) -> list[Refused]:
        """Return the packages whose metadata pip refuses, as far as it can be read; the image's own are installed."""
        pins = image_constraints.pins_of(self.target.airflow_version)
        wheels = [
            (package, package.wheel)
            for package in packages
            if package.wheel is not None
            and pins.get(package.name) != package.version
            and may_be_refused(package.wheel.uploaded)
        ]
        unknown = [wheel for _, wheel in wheels if wheel.address not in self.looked_at]
        needs = why_refused([(wheel.address, wheel.size_bytes) for wheel in unknown])
        for wheel, needed in zip(unknown, needs, strict=True):
            if needed is not None:
                self.looked_at[wheel.address] = needed
        return [
            Refused(package.name, package.version, needed)
            for package, wheel in wheels
            if (needed := self.looked_at.get(wheel.address))
        ]

    def _files(self, asked: Asked) -> Resolution:
        with tempfile.TemporaryDirectory(prefix="airflow-mwaa-") as folder:
            lock = Path(folder, "pylock.toml")
            output = self._compile(asked, folder, "--format", "pylock.toml", "--output-file", lock)
            found = tomllib.loads(lock.read_text(encoding="utf-8")).get("packages", [])
        packages = [_of_lock(entry, self.target, Path(folder)) for entry in found]
        return Resolution({package.name: package for package in packages}, warnings_in(output))

    def trace(self, asked: Asked) -> Resolution:
        with tempfile.TemporaryDirectory(prefix="airflow-mwaa-") as folder:
            written = Path(folder, "versions.txt")
            written.write_text("\n".join(asked.preferred) + "\n", encoding="utf-8")
            output = self._compile(asked, folder, "--annotation-style", "line", "--output-file", written)
            lines = written.read_text(encoding="utf-8").splitlines()
        packages = [_annotated(match) for match in map(_ANNOTATED.match, lines) if match]
        return Resolution({package.name: package for package in packages}, warnings_in(output))

    def trace_again(self, asked: Asked, found: Resolution) -> Resolution:
        # Revalidating each page of an index takes seconds.
        with contextlib.suppress(Unresolvable, ResolverUnavailable):  # as if the shell has switched off the cache
            return self.trace(replace(_again(asked, found), from_cache=True))
        return super().trace_again(asked, found)

    def _build(self, source: Path, folder: str) -> None:
        arguments: list[str | Path] = ["build", "--wheel", "--out-dir", folder, "--python", sys.executable]
        arguments += ["--no-progress", "--color", "never"]
        arguments += [*_uv_config(Path(folder)), source]
        self._run(arguments, folder, _TIMES | _uv_environment())

    def _compile(self, asked: Asked, folder: str, *output: str | Path) -> str:
        while True:
            try:
                return self._compile_once(asked, folder, *output)
            except Unresolvable as error:
                more = [each for each in constraints_for_pip(str(error)) if each not in asked.constraints]
                if not more:
                    raise
                asked = replace(asked, constraints=(*asked.constraints, *more))

    def _compile_once(self, asked: Asked, folder: str, *output: str | Path) -> str:
        requirements, constraints = Path(folder, "requirements.in"), Path(folder, "constraints.txt")
        requirements.write_text("\n".join(asked.requirements) + "\n", encoding="utf-8")
        constraints.write_text("\n".join([*asked.constraints, *asked.kept]) + "\n", encoding="utf-8")
        arguments: list[str | Path] = ["pip", "compile", requirements, "--constraints", constraints, "--no-header"]
        arguments += ["--python", sys.executable, "--python-version", asked.python or self.target.full_python]
        arguments += ["--python-platform", self.target.uv_platform, "--color", "never", "--no-progress"]
        arguments += ["--no-deps"] if asked.no_dependencies else []
        arguments += ["--offline"] if asked.from_cache else []
        # uv reads a comma as the end of an address.
        arguments += ["--find-links", self.wheels.as_uri().replace(",", "%2C")] if self.wheels else []
        arguments += _uv_options(asked.options)
        arguments += _uv_config(Path(folder))
        return self._run([*arguments, *output], folder, _uv_environment())

    def _blames_requirements(self, output: str) -> bool:
        return uv_blames_requirements(output)

    def _reason(self, output: str) -> str:
        return uv_reason(output)


class _Pip(Resolver):
    def _build(self, source: Path, folder: str) -> None:
        arguments: list[str | Path] = ["wheel", "--no-deps", "--no-input", "--wheel-dir", folder, source]
        self._run(arguments, folder, _TIMES | _pip_environment())

    def resolve(self, asked: Asked) -> Resolution:
        if asked.python is not None:
            raise Unresolvable("pip resolves for its own Python only")
        with tempfile.TemporaryDirectory(prefix="airflow-mwaa-") as folder:
            requirements, constraints = Path(folder, "requirements.txt"), Path(folder, "constraints.txt")
            options = [f"--{name} {value}".strip() for name, value in asked.options]
            requirements.write_text("\n".join([*options, *asked.requirements]) + "\n", encoding="utf-8")
            constraints.write_text("\n".join([*asked.constraints, *asked.kept]) + "\n", encoding="utf-8")
            report = Path(folder, "report.json")
            arguments: list[str | Path] = ["install", "--dry-run", "--ignore-installed", "-vv", "--no-input"]
            arguments += ["--disable-pip-version-check", "--report", report, "-r", requirements, "-c", constraints]
            arguments += ["--no-deps"] if asked.no_dependencies else []
            arguments += ["--find-links", self.wheels] if self.wheels else []
            output = self._run(arguments, folder, _pip_environment())
            found = json.loads(report.read_text(encoding="utf-8"))["install"]
        packages = [_of_report(entry) for entry in found]
        return Resolution({package.name: package for package in packages}, warnings_in(output))

    def _blames_requirements(self, output: str) -> bool:
        return pip_blames_requirements(output)

    def _reason(self, output: str) -> str:
        return pip_reason(output)


def _again(asked: Asked, found: Resolution) -> Asked:
    """Return the question whose only answer is this one."""
    exact = tuple(f"{name}=={package.version}" for name, package in found.packages.items() if package.version)
    return replace(asked, kept=exact)


def _unavailable(what: str, fix: str) -> ResolverUnavailable:
    return ResolverUnavailable(f"{what} {fix}", what=what, fix=fix)


def find_resolver(target: Target, wheels: Path | None = None) -> Resolver:
    """Return uv, else a pip of the image's Python on its platform.

    :param wheels: a folder of wheels that count beside those of the index.
    :raises ResolverUnavailable: neither can be used.
    """
    wheels = wheels and wheels.absolute()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    uv = shutil.which("uv", path=path)
    version = _version_of([uv]) if uv else ""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if uv and numbers >= _OLDEST_UV:
        return _Uv(target, f"uv {version}", wheels, (uv,))
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    fits = python == target.python and sys.platform == "linux" and platform.machine() == "x86_64"
    pip = (sys.executable, "-m", "pip")
    pip_version = _version_of(pip) if fits else ""
    if pip_version:
        return _Pip(target, f"pip {pip_version}", wheels, pip)
    found = f"uv {version} is too old, and no other was found" if uv else "neither was found"
    raise _unavailable(
        f"Requirements are resolved by uv, or by pip on Python {target.python} on Linux x86-64: {found}.",
        "Install it: pip install --upgrade uv.",
    )


def _version_of(command: Iterable[str]) -> str:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = done.stdout.split()
    return words[1] if done.returncode == 0 and len(words) > 1 else ""


def _uv_environment() -> dict[str, str]:
    """Return the shell's variables; an index or certificates that are set for pip alone are set for uv as well."""
    found = {name: value for name, value in os.environ.items() if name not in _NOT_FROM_THE_SHELL}
    if "UV_INDEX_URL" not in found and found.get("PIP_INDEX_URL"):
        found.setdefault("UV_DEFAULT_INDEX", found["PIP_INDEX_URL"])
    bundle = bundle_of(found)
    if bundle:
        found["SSL_CERT_FILE"] = bundle
    for name in ("UV_NO_CONFIG", "UV_CONFIG_FILE"):
        found.pop(name, None)
    found["UV_PYTHON_DOWNLOADS"] = "never"
    return found


def _pip_environment() -> dict[str, str]:
    """Return the shell's variables; of pip's settings, in variables or files, only those for indexes apply."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("PIP_") or name in _PIP_FROM_THE_SHELL
    } | _PIP_AS_ON_THE_IMAGE


def _uv_config(folder: Path) -> list[str]:
    """Return the option for a settings file with the machine's and the user's settings for indexes."""
    if os.environ.get("UV_NO_CONFIG", "0").lower() not in ("0", "false", ""):
        return ["--no-config"]
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    own = os.environ.get("UV_CONFIG_FILE")
    paths = [Path(own)] if own else [Path("/etc/uv/uv.toml"), Path(home, "uv", "uv.toml")]
    found: dict[str, Any] = {}
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
            merged = {**settings, **settings.get("pip", {})}
            found |= {name: value for name, value in merged.items() if name in _CONFIG_OF_INDEXES}
    written = folder / "uv.toml"
    written.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in found.items()), encoding="utf-8")
    return ["--config-file", str(written)]


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} = {_toml(each)}' for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


def _uv_options(options: Iterable[tuple[str, str]]) -> list[str]:
    """Return a file's options as uv's, which accepts some of them only once."""
    once: dict[str, list[str]] = {}
    words: list[str] = []
    for name, value in options:
        if name == "index-url":
            once[name] = ["--default-index", value]
        elif name == "extra-index-url":
            once[name] = ["--index-strategy", "unsafe-best-match"]
            words += ["--index", value]
        elif name == "trusted-host":
            words += ["--allow-insecure-host", value]
        elif name == "pre":
            once[name] = ["--prerelease", "allow"]
        elif name == "no-index":
            once[name] = ["--no-index"]
        elif name in ("find-links", "no-binary", "only-binary"):
            words += [f"--{name}", value]
    return [*words, *(word for each in once.values() for word in each)]


def _annotated(match: re.Match[str]) -> Package:
    via = tuple(word for word in (match["via"] or "").split(", ") if word and not word.startswith("-"))
    return Package(normalized(match["name"]), match["version"], via=via)


def _of_lock(entry: Mapping[str, Any], target: Target, folder: Path) -> Package:
    package = Package(normalized(entry["name"]), str(entry.get("version", "")))
    wheels = [_file(each, folder) for each in entry.get("wheels", ())]
    source = _file(entry["sdist"], folder) if "sdist" in entry else None
    for kind in ("archive", "vcs", "directory"):
        if kind in entry:
            found = _file(entry[kind], folder)
            wheels, source = ([found], None) if found.name.endswith(".whl") else ([], found)
    ranked = [(rank, wheel) for wheel in wheels if (rank := target.rank(wheel.name)) is not None]
    fitting = [wheel for _, wheel in sorted(ranked, key=lambda pair: pair[0])]
    return replace(package, wheel=fitting[0] if fitting else None, source=source, others=tuple(fitting[1:]))


def _file(entry: Mapping[str, Any], folder: Path) -> PackageFile:
    address = str(entry["url"] if "url" in entry else (folder / entry.get("path", "")).resolve())
    name = entry.get("name") or unquote(Path(urlsplit(address).path).name)
    uploaded = entry.get("upload-time")
    uploaded = uploaded if isinstance(uploaded, datetime) and uploaded.tzinfo else None
    return PackageFile(str(name), address, entry.get("size"), _hashes(entry.get("hashes", {})), uploaded)


def _hashes(found: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{algorithm}:{digest}".lower() for algorithm, digest in found.items())


def _of_report(entry: Mapping[str, Any]) -> Package:
    info = entry["download_info"]
    address = info["url"]
    hashes = info.get("archive_info", {}).get("hashes", {})
    found = PackageFile(unquote(Path(urlsplit(address).path).name), address, None, _hashes(hashes))
    is_wheel = found.name.endswith(".whl")
    data = entry["metadata"]
    return Package(normalized(data["name"]), data["version"], found if is_wheel else None, None if is_wheel else found)
