# SPDX-License-Identifier: Apache-2.0
"""Find the layer rules that the imports of a source tree break; ``scripts/lib/imports.py`` reads the imports.

The rules: which layer may import which, which layers must not import Airflow, what must not be imported while a
DAG file is parsed, where the Airflow version may be checked, and that no files import each other in a circle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from scripts.lib.imports import PACKAGE, Module, circles, file_arrows, read_modules, with_parents

_BELOW_HOOKS = {"metadata", "client", "monitoring", "exceptions"}
_BELOW_OPERATORS = {"triggers", "links", "hooks", "_compat"} | _BELOW_HOOKS
MAY_IMPORT: dict[str, set[str]] = {
    "_compat": set(),
    "aws_lambda": {"aws_lambda_context", "aws_lambda_events", "client", "exceptions"},
    "aws_lambda_context": {"client", "exceptions"},
    "aws_lambda_endpoints": {"aws_lambda_context", "client", "exceptions"},
    "aws_lambda_events": {"exceptions"},
    "cli": {"client", "metadata", "packaging", "monitoring", "preflight", "local", "secrets", "exceptions", "s3_uri"},
    "client": {"exceptions", "quiet_logs", "s3_uri"},
    "error_documents": {"exceptions"},
    "exceptions": set(),
    "hooks": {"_compat", "provider_info"} | _BELOW_HOOKS,  # it has the connection form as data
    "links": {"hooks", "_compat"} | _BELOW_HOOKS,
    "local": {"_compat", "exceptions"},
    "metadata": {"error_documents", "exceptions", "s3_uri"},
    "monitoring": {"client", "exceptions"},
    "operators": {"secrets", "packaging"} | _BELOW_OPERATORS,
    "packaging": {"client", "exceptions", "s3_uri"},  # the client's AWS calls upload what was built
    "plugins": {"metadata", "monitoring", "secrets", "error_documents", "exceptions", "_compat"},
    "preflight": {"exceptions"},
    "provider_info": set(),
    "quiet_logs": set(),
    "s3_uri": set(),
    "secrets": {"exceptions", "quiet_logs", "_compat"},
    "sensors": {"operators"} | _BELOW_OPERATORS,  # their base class, which declares the AWS parameters
    "triggers": {"hooks", "error_documents", "_compat"} | _BELOW_HOOKS,
}
"""Every layer may also import itself and the package's root, which contains only the version."""

ROOMS: dict[str, dict[str, set[str]]] = {
    "local": {
        "airflow": {"machine", "runtime", "errors"},
        "aws": {"runtime", "errors"},
        "machine": {"errors"},
        "stand_ins": {"errors"},
    },
}
"""What a subpackage may import from its own layer; the layer's other files may import all of it."""

WITHOUT_AIRFLOW = {
    "aws_lambda",
    "aws_lambda_context",
    "aws_lambda_endpoints",
    "aws_lambda_events",
    "client",
    "error_documents",
    "exceptions",
    "metadata",
    "monitoring",
    "packaging",
    "preflight",
    "provider_info",
    "quiet_logs",
    "s3_uri",
}
WORDS_OF_DAG_FILES = re.compile(r"template_fields|render_template|XComArg|iter_references|BaseOperator|[Jj]inja")
"""Packages for DAG code only: a layer without Airflow must not import them, even indirectly."""
WITHOUT_WORDS_OF_DAG_FILES = {"client", "exceptions", "metadata", "monitoring"}
AIRFLOW_ONLY_LAZILY = {"cli"}
PARSED_WITH_DAGS = {"links", "operators", "secrets", "sensors", "triggers"}
HEAVY = (
    "airflow.providers.amazon", "airflow.providers.cncf", "boto3", "botocore", "kubernetes", "kubernetes_asyncio",
    "pandas", "psycopg2", "pyarrow", "requests", "rich",
)  # fmt: skip
SUBCLASSED = {
    ("operators/eks.py", "airflow.providers.cncf.kubernetes.operators.pod"),
    ("triggers/eks.py", "airflow.providers.cncf.kubernetes.triggers.pod"),
}
"""Heavy modules with classes that ours are subclasses of. Such a class cannot be defined without importing them."""


STANDALONE = {"local/airflow/cli_server.py", "local/airflow/setup.py"}
"""Files that the local MWAA runs by path in another interpreter, which may not have this package.

They cannot use ``_compat.py``, so they may check the Airflow version; they must not import this package.
"""


def violations(sources: Mapping[str, str]) -> list[str]:
    """Every broken rule, as ``path:line: what``."""
    modules = read_modules(sources)
    by_name = {module.name: module for module in modules}
    found: list[str] = []
    for module in modules:
        found += _form_violations(module)
        found += _layer_violations(module)
        found += _room_violations(module)
        found += _airflow_violations(module)
        if module.layer in WITHOUT_WORDS_OF_DAG_FILES:
            found += _word_violations(module, sources[module.path])
        if module.layer in PARSED_WITH_DAGS:
            found += _heavy_violations(module, by_name)
    return found + list(_circle_violations(modules))


def _form_violations(module: Module) -> Iterator[str]:
    if module.first_line != "# SPDX-License-Identifier: Apache-2.0":
        yield f"{module.path}:1: the first line is not the SPDX line"


def _layer_violations(module: Module) -> Iterator[str]:
    if module.layer and module.layer not in MAY_IMPORT:
        yield f"{module.path}:1: {module.layer} is in no layer; name it in the table"
        return
    for imported in module.imports:
        head, _, rest = imported.name.partition(".")
        if head != PACKAGE:
            continue
        layer = rest.split(".")[0]
        if module.path in STANDALONE:
            yield f"{module.path}:{imported.line}: {imported.name} may be missing where this file runs"
            continue
        if layer in {module.layer, "", "__version__"}:
            continue
        if not module.layer:
            yield f"{module.path}:{imported.line}: the package's root imports {imported.name}"
        elif layer not in MAY_IMPORT[module.layer]:
            yield f"{module.path}:{imported.line}: {module.layer} may not import {imported.name}"


def _room_violations(module: Module) -> Iterator[str]:
    rooms = ROOMS.get(module.layer, {})
    room = module.path.split("/")[1] if module.path.count("/") > 1 else ""
    if module.layer in ROOMS and room and room not in rooms:
        yield f"{module.path}:1: {module.layer}/{room} is no room; name it in the table"
        return
    for imported in module.imports if room in rooms else ():
        parts = imported.name.split(".")
        if parts[:2] == [PACKAGE, module.layer] and len(parts) > 2 and parts[2] not in {room, *rooms[room]}:
            yield f"{module.path}:{imported.line}: {module.layer}/{room} may not import {imported.name}"


def _airflow_violations(module: Module) -> Iterator[str]:
    for imported in module.imports:
        if imported.name.split(".")[0] != "airflow":
            continue
        if module.layer in WITHOUT_AIRFLOW or not module.layer:
            yield f"{module.path}:{imported.line}: {module.layer or 'the root'} imports {imported.name}"
        elif module.layer in AIRFLOW_ONLY_LAZILY and not imported.lazy and not imported.typing_only:
            yield f"{module.path}:{imported.line}: {imported.name} at module level makes every command slow"
    if module.layer != "_compat" and module.path not in STANDALONE:
        for line, what in module.version_questions:
            yield f"{module.path}:{line}: {what}; only _compat.py may"


def _word_violations(module: Module, source: str) -> Iterator[str]:
    for number, line in enumerate(source.splitlines(), start=1):
        if found := WORDS_OF_DAG_FILES.search(line):
            yield f"{module.path}:{number}: {module.layer} knows {found[0]}, which belongs to hooks/templating.py"


def _heavy_violations(module: Module, by_name: Mapping[str, Module]) -> Iterator[str]:
    """Follow module-level imports through the package's own files."""
    queue, seen = [(module, "")], {module.name}
    while queue:
        current, through = queue.pop()
        for imported in current.imports:
            if imported.lazy or imported.typing_only:
                continue
            if any((current.path, name) in SUBCLASSED for name in (imported.name, imported.name.rpartition(".")[0])):
                continue
            for heavy in HEAVY:
                if imported.name == heavy or imported.name.startswith(f"{heavy}."):
                    yield (
                        f"{current.path}:{imported.line}: {heavy} would be imported"
                        f" whenever a DAG file imports {module.name}{through}"
                    )
            for name in with_parents(imported.name):
                if name in by_name and name not in seen:
                    seen.add(name)
                    queue.append((by_name[name], f"{through} -> {name}"))


def _circle_violations(modules: list[Module]) -> Iterator[str]:
    arrows = file_arrows(modules)
    for circle in sorted(circles(arrows)):
        first = circle[0]
        into = min(path for path in arrows[first] if path in circle)
        yield (
            f"{first}:{arrows[first][into]}: imports {into}, which imports it again; these files are a circle: "
            f"{', '.join(circle)}. Move what they share into a file that imports none of them"
        )
