# SPDX-License-Identifier: Apache-2.0
"""Problems of a plugins.zip: each broken one, the table of them in the docs, and valid zips."""

from __future__ import annotations

import io
import json
import random
import sys
import tomllib
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.local.airflow import plugins_zip
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.packaging.plugins_zip.inspection import inspect, inspect_file
from airflow_mwaa_provider.packaging.problems import Severity
from tests.packaging.zips import (
    AIRFLOW,
    BROKEN,
    MYLIB_1_0,
    PLUGIN,
    Broken,
    Entry,
    entry,
    link,
    plugin,
    table,
    wheel,
    zipped,
)

pytestmark = pytest.mark.once
PAGE = Path(__file__).resolve().parents[2] / "docs" / "plugins-zip.md"
COMES_ALONG = {
    "too-large": {"zip-bomb"},
    "absolute-path": {"top-folder"},
    "differs-in-case": set(),
    "truncated": set(),
}
"""Other problems of a broken zip, besides the one that it is for."""


def codes(*entries: Entry, airflow_version: str | None = AIRFLOW) -> list[str]:
    file = io.BytesIO(zipped(*entries))
    return [problem.code for problem in inspect(file, "plugins.zip", airflow_version=airflow_version)]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.code)
def test_each_problem_is_found_named_and_has_a_way_out(broken: Broken, tmp_path: Path) -> None:
    path = tmp_path / "plugins.zip"
    broken.write(path)
    problems = inspect_file(path, airflow_version=AIRFLOW)
    path.unlink()  # one has a gigabyte, and the tests' leftovers are searched for secrets
    assert {problem.code for problem in problems} <= {broken.code, *COMES_ALONG.get(broken.code, ())}
    [problem] = [problem for problem in problems if problem.code == broken.code]
    assert problem.where.startswith("plugins.zip")
    assert problem.what.endswith(".")
    assert problem.fix.endswith((".", ". ."))
    assert "\n" not in str(problem)


def test_what_the_local_mwaa_refuses_is_an_error(tmp_path: Path) -> None:
    """Its reading of a zip shares no code with this one."""
    path = tmp_path / "plugins.zip"
    refused = set()
    for broken in BROKEN:
        broken.write(path)
        with suppress(LocalMwaaError):
            plugins_zip.check(path, path.name)
            plugins_zip.unpack(path, tmp_path / "plugins")
            continue
        refused.add(broken.code)
        assert Severity.ERROR in {problem.severity for problem in inspect_file(path, airflow_version=AIRFLOW)}, broken
    path.unlink()
    assert refused >= {"not-a-zip", "truncated", "damaged", "absolute-path", "path-leads-out", "link-leads-out"}
    assert refused >= {"special-file", "encrypted", "file-and-folder"}
    assert "backslash" not in refused, "unzip may take them for slashes"


def test_the_docs_show_what_is_said(tmp_path: Path) -> None:
    """Update it with ``python -m tests.packaging.zips``."""
    assert table(tmp_path) in PAGE.read_text(encoding="utf-8")
    assert len({broken.code for broken in BROKEN}) == len(BROKEN) > 30


def test_what_is_fine_has_no_problem() -> None:
    fine: list[Entry] = [
        ("plugin.py", b"import os\r\n"),
        (".airflowignore", b"hadoop-3.3.6\ncurrent\n"),
        ("hadoop-3.3.6/share/time.py", b"print 'Python 2'\n"),
        (entry("hadoop-3.3.6/bin/hadoop", mode=0o100755), b"#!/bin/sh\n"),
        ("hadoop-3.3.6/lib/libhadoop.so.1.0.0", b"\x7fELF" + bytes(14) + b"\x3e\x00"),
        (link("hadoop-3.3.6/lib/libhadoop.so"), b"libhadoop.so.1.0.0"),
        (link("current"), b"hadoop-3.3.6"),
        (link("hadoop-3.3.6/plugins"), b".."),
        ("hooks/__init__.py", b""),
        ("hooks/", b""),
        ("ünï code.py", b""),
        ("mylib-1.0-py3-none-any.whl", wheel("mylib", "1.0")),
        ("other-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", wheel("other", "1.0")),
        ("third-1.0-cp38-abi3-manylinux_2_34_x86_64.whl", wheel("third", "1.0")),
    ]
    assert codes(*fine) == []


@pytest.mark.parametrize(
    "names",
    [
        ["my_package/__init__.py", "my_package/plugin.py"],
        ["hooks/one.py", "operators/other.py"],
        ["shared/hooks/one.py"],
        ["hooks/__init__.py", "hooks/one.py", "hooks/.airflowignore"],
        ["__MACOSX/._plugin.py", "plugin.py"],
    ],
)
def test_a_folder_that_is_meant_so_is_no_top_folder(names: list[str]) -> None:
    assert "top-folder" not in codes(*((name, b"") for name in names))


@pytest.mark.parametrize(
    "names",
    [
        ["my-plugins/plugin.py"],
        ["plugins/mylib-1.0-py3-none-any.whl"],
        ["x/mylib-1.0-py3-none-any.whl", "x/plugin.py"],
        ["plugins/__init__.py", "plugins/my_airflow_plugin.py", "plugins/hooks/mine.py"],
        ["Plugins/__init__.py", "Plugins/my_airflow_plugin.py"],
        ["plugins/hooks/one.py"],
        ["PLUGINS\\plugin.py"],
        ["plugins/plugin.py", "__MACOSX/plugins/._plugin.py", "plugins/.DS_Store"],
    ],
)
def test_a_top_folder_of_any_tool(names: list[str]) -> None:
    assert "top-folder" in codes(*((name, b"") for name in names))


def test_a_top_folder_that_may_be_a_package_without_init_is_only_suspect() -> None:
    [problem] = inspect(io.BytesIO(zipped(("hooks/mine.py", b""))), "plugins.zip")
    assert (problem.code, problem.severity) == ("top-folder", Severity.WARNING)


def test_links_that_lead_out_by_way_of_others() -> None:
    assert "link-leads-out" in codes(("d/a.py", b""), (link("d/up"), b".."), (link("out"), b"d/up/.."))
    assert codes(("a.py", b""), (link("round"), b"about"), (link("about"), b"round")) == ["link-loop"]
    assert "link-leads-out" in codes(("a.py", b""), (link("out"), b"/etc/passwd"))
    assert "file-and-folder" in codes((link("hooks"), b"../dags"), ("hooks/evil.py", b""))


def test_what_unzip_makes_no_link_of_is_none() -> None:
    """As observed with Info-ZIP's unzip: systems 0 to 19 of the zip format."""
    for system, is_link in [(0, False), (3, True), (10, False), (14, False), (19, False)]:
        made = entry("link", mode=0o120777, system=system)
        assert codes(("a.py", b""), (made, b"a.py")) == ["link-not-of-unix"] * (not is_link), system


def test_names_that_only_look_wrong() -> None:
    assert codes(("a:b.txt", b""), (255 * "x", b"")) == []
    assert codes(("C:/b.txt", b"")) == ["absolute-path"]
    assert codes((f"{'é' * 128}", b"")) == ["name-too-long"]
    folders = 2030 * "d/"
    most = 4095 - len("/usr/local/airflow/plugins/") - len(folders)
    assert codes(("plugin.py", b""), (folders + most * "x", b"")) == []
    assert codes(("plugin.py", b""), (folders + (most + 1) * "x", b"")) == ["path-too-long"]
    assert codes(("plugin.py", b""), ("vendor.pyc", b"")) == []


def test_files_of_passwords_and_keys_are_told_by_their_names() -> None:
    for name in (".env", "a/.env.prod", "keys/id_rsa", "id_ed25519", ".netrc", ".pgpass", ".pypirc"):
        assert codes(("plugin.py", b""), (name, b"")) == ["secrets-inside"], name
    for name in (".env.example", "a/.env.template", "id_rsa.pub", "my.env", ".environment"):
        assert codes(("plugin.py", b""), (name, b"")) == [], name


def test_what_its_owner_could_not_read() -> None:
    """As observed with Info-ZIP's unzip."""
    for made, wrong in [
        (entry("d/", mode=0o040600), ["unreadable"]),
        (entry("d/", mode=0o040700), []),
        (entry("d/", mode=0, system=0), []),
        (entry("x", mode=0o100000), ["unreadable"]),
        (entry("x", mode=0o100400), []),
        (entry("x", mode=0, system=0), []),
    ]:
        assert codes((made, b""), ("plugin.py", b"")) == wrong, made


def test_a_wheel_is_what_its_name_says() -> None:
    whole = wheel("mylib", "1.0")

    def found(content: bytes, name: str = "mylib-1.0-py3-none-any.whl") -> list[str]:
        return codes((name, content), ("plugin.py", b""))

    assert found(whole) == []
    assert found(whole, "MyLib-1.0.0-py3-none-any.whl") == []
    assert found(whole, "mylib-1.1-py3-none-any.whl") == ["wheel-renamed"]
    assert found(whole, "mylib-1.0-py3-none-any.WHL") == ["wheel-name"], "pip takes no other case"
    assert found(wheel("other", "1.0")) == ["wheel-renamed"]
    about = "mylib-1.0.dist-info"
    metadata = (f"{about}/METADATA", b"Metadata-Version: 2.1\nName: mylib\nVersion: 1.1\n")
    sign, record = (f"{about}/WHEEL", b"Wheel-Version: 1.0\n"), (f"{about}/RECORD", b"")
    assert found(zipped(metadata, sign, record)) == ["wheel-renamed"]
    assert found(zipped(metadata, record)) == ["wheel-damaged"]
    assert found(zipped(metadata, sign)) == ["wheel-damaged"]
    assert found(zipped(metadata, sign, record, ("other-1.0.dist-info/METADATA", b""))) == ["wheel-damaged"]
    stored = bytearray(zipped(metadata, sign, record, ("mylib/a.py", b"a text"), compression=zipfile.ZIP_STORED))
    stored[stored.index(b"a text")] ^= 1
    assert found(bytes(stored)) == ["wheel-damaged"]


def test_what_pip_refuses_of_a_wheel_that_is_whole() -> None:
    """As observed with pip 24.2."""

    def found(airflow_version: str | None = AIRFLOW, *more: Entry, **keywords: str) -> list[tuple[str, Severity]]:
        content = zipped((MYLIB_1_0, wheel("mylib", "1.0", *more, **keywords)), ("plugin.py", b""))
        problems = inspect(io.BytesIO(content), "plugins.zip", airflow_version=airflow_version)
        return [(problem.code, problem.severity) for problem in problems]

    for required in (">=3.8", ">=3.11.4,<3.12", "!=3.11.0", "==3.11.*", "nonsense"):
        assert found(about=f"Requires-Python: {required}\n") == [], required
    for required in ("<3.10", ">=3.12", "!=3.11.*"):
        for version, severity in ((AIRFLOW, Severity.ERROR), (None, Severity.WARNING)):
            wrong = found(version, about=f"Requires-Python: {required if version else '<3.10'}\n")
            assert wrong == [("wheel-requires-another-python", severity)], required
    assert found(sign="Wheel-Version: 1.9\n") == []
    for sign in ("Wheel-Version: 2.0\n", "Root-Is-Purelib: true\n", "Wheel-Version: x\n"):
        assert found(sign=sign) == [("wheel-of-another-format", Severity.ERROR)], sign
    assert found(AIRFLOW, ("mylib/../mylib/a.py", b""), ("mylib/..a.py", b"")) == []
    for name in ("../evil.py", "/evil.py", "mylib/../../evil.py"):
        assert found(AIRFLOW, (name, b"")) == [("wheel-leads-out", Severity.ERROR)], name


def test_wheels_in_folders_have_to_be_named_to_pip() -> None:
    one, two = "one/mylib-1.0-py3-none-any.whl", "a/two/mylib-1.1-py3-none-any.whl"
    wheels: list[Entry] = [(one, wheel("mylib", "1.0")), (two, wheel("mylib", "1.1"))]
    for others in ([], [("plugin.py", b"")], [("plugin.py", b""), (link("mylib-1.0-py3-none-any.whl"), one.encode())]):
        problems = inspect(io.BytesIO(zipped(*wheels, *others)), "plugins.zip")
        assert {(problem.code, problem.severity) for problem in problems} == {("wheels-in-folder", Severity.WARNING)}
        assert [problem.where for problem in problems] == ["plugins.zip: a/two/", "plugins.zip: one/"]
        asked = "Write --find-links /usr/local/airflow/plugins/a/two in requirements.txt, or move them to the top."
        assert problems[0].fix == asked
    assert codes(("plugins/mylib-1.0-py3-none-any.whl", wheel("mylib", "1.0"))) == ["top-folder"]


def test_airflowignore_counts_where_it_is_and_below() -> None:
    time = ("a/b/time.py", b"")
    for path, line in [
        (".airflowignore", "a/"),
        (".airflowignore", "time.py"),
        (".airflowignore", "a/b/*.py"),
        (".airflowignore", "# a comment\n^a/b/.*$\n"),
        ("a/.airflowignore", "b  # a comment"),
    ]:
        assert codes(time, (path, line.encode()), ("c.py", b""), airflow_version=None) == [], line
    for path, line in [("c/.airflowignore", "b"), (".airflowignore", "#time.py"), (".airflowignore", "(time")]:
        assert codes(time, (path, line.encode())) == ["shadows-standard-library"], line
    for version, expression, glob in [("2.10.3", [], ["ignored"]), ("3.3.1", ["ignored"], []), (None, [], [])]:
        for line, said in [("a/b/.*", expression), ("a/b/*.py", glob)]:
            found = codes(time, (".airflowignore", line.encode()), ("c.py", b""), airflow_version=version)
            assert found == ["shadows-standard-library", "ignored-by-other-syntax"] * bool(said), (version, line)
    for line in ("!", "//!\n!"):
        for version, severity in [("3.3.1", Severity.ERROR), (None, Severity.WARNING)]:
            content = zipped(("c.py", b""), (".airflowignore", line.encode()))
            [problem] = inspect(io.BytesIO(content), "plugins.zip", airflow_version=version)
            assert (problem.code, problem.severity) == ("ignore-line-invalid", severity)
    assert codes(time, (".airflowignore", b"a{99999999999999}")) == ["shadows-standard-library"]


def test_names_of_modules_as_the_image_has_them() -> None:
    assert codes(("hooks/airflow.py", b"")) == ["top-folder", "shadows-airflow"][::-1]
    assert codes(("distutils.py", b"")) == ["shadows-standard-library"], "Python 3.11"
    assert codes(("distutils.py", b""), airflow_version="3.3.1") == []
    assert codes(("cgi.py", b""), airflow_version="3.3.1") == ["shadows-standard-library"]
    assert codes((link("time.py"), b"lib.txt"), ("lib.txt", b"x = 1\n")) == ["shadows-standard-library"]
    assert codes((link("mine.py"), b"lib.txt"), ("lib.txt", b"print 'x'\n")) == ["syntax-error"]
    for names in (["my/hooks.py", "hooks/x.py"], ["hooks.py", "hooks/x.py"], ["one/a.py", "two/a.py"]):
        assert codes(*((name, b"") for name in names)) == ["same-module-name"], names
    assert codes(("one/__init__.py", b""), ("two/__init__.py", b"")) == []


def test_of_plugins_of_one_name_airflow_takes_one() -> None:
    def told(*entries: Entry) -> list[str]:
        return [problem.what for problem in inspect(io.BytesIO(zipped(*entries)), "plugins.zip")]

    assert told(("one.py", plugin("one")), ("two.py", plugin("two"))) == []
    [what] = told(("one.py", plugin("same")), ("d/two.py", plugin("same").replace(b"name =", b"name: str =")))
    assert what.startswith("Its plugin is called 'same', as is that of one.py: Airflow loads only one of them")
    [what] = told(
        ("one.py", plugin("a") + plugin("a").replace(b"(Air", b"(plugins_manager.Air").replace(b"Mine", b"B"))
    )
    assert "as is that of one.py" in what
    assert told(("one.py", plugin("a")), ("two.py", plugin("a").replace(b"(AirflowPlugin)", b"(Base)"))) == []
    assert told(("one.py", plugin("a")), ("d/two.py", plugin("a")), (".airflowignore", b"d\n")) == []
    with (PAGE.parents[1] / "pyproject.toml").open("rb") as file:
        own = tomllib.load(file)["project"]["entry-points"]["airflow.plugins"]
    for name in own:
        [what] = told(("one.py", plugin(name)))
        assert f"called '{name}', as is that of airflow-mwaa-provider:" in what


@pytest.mark.parametrize(
    ("source", "is_right"),
    [
        ("return 1\n", False),
        ("def f(a, a): pass\n", False),
        ("import os\nfrom __future__ import annotations\n", False),
        ("break\n", False),
        ("f'{d[\"a\"]}'\n", True),
        ('f"{d["a"]}"\n', False),
        ('f"""{d["a"]}"""\n', True),
        ('f"""{d["""a"""]}"""\n', False),
        ("f'{x!r:>{width}} {{}} \\n'\n", True),
        ("f'{\"\\n\".join(x)}'\n", False),
        ('f"""{\nx\n}"""\n', True),
        ("f'{\nx\n}'\n", False),
        ("f'{f\"{1}\"}' 'x'\n", True),
        ("f'{f'{1}'}'\n", False),
        ("x = {'a': f'{1:%H:%M}'}  # it's\n", True),
    ],
)
def test_syntax_of_the_image_whatever_runs_here(source: str, is_right: bool) -> None:
    assert codes(("plugin.py", source.encode())) == ["syntax-error"] * (not is_right)


def test_names_of_tools_on_linux_are_in_utf_8_though_they_do_not_say_so() -> None:
    content = zipped(("plugin.py", PLUGIN), ("tarifEE.py", PLUGIN)).replace(b"tarifEE.py", "tarifé.py".encode())
    assert inspect(io.BytesIO(content), "plugins.zip", airflow_version=AIRFLOW) == []
    content = zipped(("plugin.py", PLUGIN), ("tarifé.py", PLUGIN)).replace("tarifé.py".encode(), b"tarif\xff\xff.py")
    [problem] = inspect(io.BytesIO(content), "plugins.zip", airflow_version=AIRFLOW)
    assert problem.code == "name-not-utf-8"


def test_a_zip_that_was_streamed_has_its_sizes_behind_its_content() -> None:
    class Pipe(io.RawIOBase):
        content = b""

        def writable(self) -> bool:
            return True

        def write(self, more: Any) -> int:
            self.content += bytes(more)
            return len(more)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("plugin.py", PLUGIN)
        archive.writestr("other.py", PLUGIN)
    assert inspect(io.BytesIO(pipe.content), "plugins.zip", airflow_version=AIRFLOW) == []


def test_what_depends_on_python_is_judged_by_the_image() -> None:
    cp311 = ("mylib-1.0-cp311-cp311-manylinux2014_x86_64.whl", wheel("mylib", "1.0"))
    assert codes(cp311, airflow_version="2.10.3") == []
    assert codes(cp311, airflow_version="3.0.6") == ["wheel-for-another-python"]
    generic = ("plugin.py", b"def first[T](items: list[T]) -> T:\n    return items[0]\n")
    assert codes(generic, airflow_version="2.10.3") == ["syntax-error"]
    assert codes(generic, airflow_version="3.0.6") == ([] if sys.version_info >= (3, 12) else ["syntax-unknown"])
    [problem] = inspect(io.BytesIO(zipped(cp311)), "plugins.zip")
    assert problem.severity is Severity.WARNING, "nobody said which image"


def test_a_large_entry_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "plugins.zip"
    block = random.Random(1).randbytes(1 << 20)
    with zipfile.ZipFile(path, "w") as archive, archive.open("large.bin", "w") as file:
        for _ in range(20):
            file.write(block)
    tracemalloc.start()
    try:
        assert inspect_file(path) == []
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 << 20


def test_no_damage_is_too_much() -> None:
    """Whatever bytes are wrong, there is an answer."""
    whole = zipped(
        ("plugin.py", PLUGIN * 9), ("é", b"x"), (link("x"), b"plugin.py"), ("m-1.0-py3-none-any.whl", wheel("m", "1.0"))
    )  # fmt: skip
    chance = random.Random(4)
    found = set()
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        del content[chance.choice([len(content), len(content), chance.randrange(len(content))]) :]
        found |= {problem.code for problem in inspect(io.BytesIO(content), "plugins.zip", airflow_version=AIRFLOW)}
    assert {"damaged", "truncated", "not-a-zip", "compression-unknown"} <= found


# -- the command -----------------------------------------------------------------------------------------


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["package", "plugins", *arguments])


def test_the_command_prints_a_line_for_each_problem_worst_first(tmp_path: Path) -> None:
    path = tmp_path / "plugins.zip"
    path.write_bytes(zipped((".DS_Store", b""), ("hooks/time.py", b""), ("redis.py", b"")))
    done = run("--check", str(path), "--airflow-version", AIRFLOW)
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "warning", "warning"]
    assert lines[0].startswith("error: plugins.zip: hooks/time.py: Airflow runs it as the module 'time'")
    told = json.loads(run("--check", str(path), "--output", "json").output)
    assert told["ok"] is False
    assert [each["severity"] for each in told["problems"]] == ["error", "warning", "warning"]
    assert told["problems"][0]["code"] == "shadows-standard-library"
    assert set(told["problems"][0]) == {"code", "severity", "where", "what", "fix"}


def test_warnings_alone_are_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "plugins.zip"
    path.write_bytes(zipped(("plugin.py", b""), (".DS_Store", b"")))
    assert run("--check", str(path)).exit_code == 0
    path.write_bytes(zipped(("plugin.py", b"")))
    done = run("--check", str(path))
    assert (done.exit_code, done.output) == (0, f"{path}: no problem found.\n")


def test_misuse_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "plugins.zip"
    done = run("--check", str(path))
    assert done.exit_code == 2
    assert done.output == f"airflow-mwaa: {path} cannot be read: No such file or directory. Give a plugins.zip.\n"
    path.write_bytes(zipped(("plugin.py", b"")))
    assert "this version knows no MWAA image of it" in run("--check", str(path), "--airflow-version", "2.0.0").output
    assert "'' is not an Airflow version" in run("--check", str(path), "--airflow-version", "").output
    assert run("--check", str(path), "folder").exit_code == 2
    assert run().exit_code == 2


def test_a_name_moves_no_cursor(tmp_path: Path) -> None:
    path = tmp_path / "plugins.zip"
    path.write_bytes(zipped(("plugin.py", b""), ("a\x1b[2J/\nb.zip", b"")))
    done = run("--check", str(path))
    assert "\x1b" not in done.output
    assert [line[:30] for line in done.output.splitlines()] == ["warning: plugins.zip: a\\x1b[2J"] * 2
