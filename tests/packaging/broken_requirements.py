# SPDX-License-Identifier: Apache-2.0
"""Requirements files with one error each: the list in the docs, the command's report, and pip's own message."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Broken:
    """A file with one error.

    :param code: of the problem.
    :param shown: the line that the docs show.
    :param pip: words that pip says of the file, given the image's constraints; empty if it installs the file without a
        word, None where it was not tried: from an address that only the internet has, or for too long.
    """

    code: str
    shown: str
    pip: str | None = ""
    content: bytes | None = None
    airflow: str = "3.3.1"
    is_private: bool = False

    @property
    def bytes(self) -> bytes:
        return self.shown.replace(" ⏎ ", "\n").encode() + b"\n" if self.content is None else self.content


GITHUB = "https://raw.githubusercontent.com/apache/airflow"
BROKEN = (
    Broken("not-utf-8", "# caf\\xe9", content=b"# caf\xe9\n", pip="ERROR: Exception: (UnicodeDecodeError)"),
    Broken(
        "unknown-encoding",
        "# coding: utf-eight",
        content=b"# coding: utf-eight\nfolium==0.15.1\n",
        pip="ERROR: Exception: (LookupError)",
    ),
    Broken("utf-16", "folium==0.15.1, in UTF-16", content="\ufefffolium==0.15.1\n".encode("utf-16-le")),
    Broken("byte-order-mark", "folium==0.15.1, after a mark", content=b"\xef\xbb\xbffolium==0.15.1\n"),
    Broken("windows-line-ends", "folium==0.15.1\\r\\n", content=b"folium==0.15.1\r\n"),
    Broken("non-ascii", "folium\u2013plus==1.0", pip="Invalid requirement: "),
    Broken("not-a-requirement", "folium=0.15.1", pip="Invalid requirement: "),
    Broken("not-a-requirement", "folium==0.15.1 and branca", pip="Invalid requirement: "),
    Broken("shell-command", "pip install folium==0.15.1", pip="Invalid requirement: "),
    Broken("unknown-option", "--index-ulr https://example.com/simple", pip="Invalid requirement: "),
    Broken("bad-option", "--find-links", pip="Invalid requirement: "),
    Broken("ignored-option", "folium==0.15.1 --index-url https://example.com/simple"),
    Broken("comment-glued", "folium==0.15.1#maps", pip="Invalid requirement: "),
    Broken(
        "space-after-backslash",
        "folium==0.15.1 \\␠ ⏎ branca==0.8.2",
        content=b"folium==0.15.1 \\ \nbranca==0.8.2\n",
        pip="Invalid requirement: ",
    ),
    Broken("repeated", "folium==0.15.1 ⏎ folium==0.15.1"),
    Broken("two-versions", "folium==0.15.1 ⏎ folium==0.0.0", pip="Cannot install folium==0.0.0 and folium==0.15.1"),
    Broken("unpinned", "folium"),
    Broken("editable", "-e .", pip="does not appear to be a Python project"),
    Broken("version-control", "git+https://github.com/example/maps", pip="Failed to build"),
    Broken("local-path", "./folium-0.15.1-py3-none-any.whl", pip="No such file or directory"),
    Broken("local-path", "--find-links file:///Users/me/wheels"),
    Broken("includes-file", "-r base.txt", pip="Could not open requirements file"),
    Broken(
        "wheel-for-another-python",
        "https://example.com/maps-1.0-cp39-cp39-manylinux_2_17_x86_64.whl",
        pip="is not a supported wheel on this platform",
    ),
    Broken(
        "wheel-for-another-platform",
        "https://example.com/maps-1.0-cp312-cp312-manylinux_2_17_aarch64.whl",
        pip="is not a supported wheel on this platform",
    ),
    Broken("wheel-name", "https://example.com/maps.whl", pip="Invalid wheel filename"),
    Broken("constraints-of-another-airflow", f"-c {GITHUB}/constraints-2.10.3/constraints-3.11.txt", pip=None),
    Broken("constraints-of-another-python", f"-c {GITHUB}/constraints-3.3.1/constraints-3.11.txt", pip=None),
    Broken("constraints-switched-off", "# --constraint none ⏎ folium==0.15.1"),
    Broken("constraint-form", f"--constraint={GITHUB}/constraints-3.3.1/constraints-3.12.txt", pip=None),
    Broken(
        "constraints-not-here",
        "-c /usr/local/airflow/dags/ours.txt ⏎ folium==0.15.1",
        pip="Could not open constraint file",
    ),
    Broken("no-constraint-line", "folium==0.15.1", airflow="2.8.1", pip=None),
    Broken("moves-pin", "# -c none ⏎ awswrangler==3.12.0"),
    Broken("hashes-on-some", f"branca==0.8.2 --hash=sha256:{'0' * 64} ⏎ folium==0.15.1", pip="DO NOT MATCH THE HASHES"),
    Broken("hash-without-pin", f"branca --hash=sha256:{'0' * 64}", pip="DO NOT MATCH THE HASHES"),
    Broken("hash-of-another-file", f"branca==0.8.2 --hash=sha256:{'0' * 64}", pip="DO NOT MATCH THE HASHES"),
    Broken("unknown-extra", "awswrangler[parquet]==3.17.1", pip="does not provide the extra 'parquet'"),
    Broken("marker-false", 'folium==0.15.1; sys_platform == "win32"'),
    Broken(
        "another-airflow", "apache-airflow[ssh]==2.10.3", pip="these package versions have conflicting dependencies"
    ),
    Broken("essential-pin", "flask==2.0.0", pip="these package versions have conflicting dependencies"),
    Broken("pin-conflict", "boto3==1.30.0", pip="these package versions have conflicting dependencies"),
    Broken("pin-conflict", "awswrangler==3.12.0", pip="these package versions have conflicting dependencies"),
    Broken(
        "pin-conflict",
        "apache-airflow-providers-amazon==9.30.0",
        pip="these package versions have conflicting dependencies",
    ),
    Broken(
        "lines-conflict", "folium==0.15.1 ⏎ branca==0.3.0", pip="these package versions have conflicting dependencies"
    ),
    Broken("needs-another-python", "tensorflow==2.10.0", pip="No matching distribution found"),
    Broken("missing-version", "awswrangler==99.0", pip="No matching distribution found"),
    Broken("unknown-package", "requsts==2.34.2", pip="No matching distribution found"),
    Broken("refused-metadata", "omegaconf==2.0.6", pip="No matching distribution found"),
    Broken("yanked", "folium==0.0.0", pip="a yanked version"),
    Broken("source-only", "pure-sasl==0.6.2"),
    Broken("needs-compiler", "mysqlclient==2.2.8", pip="Failed to build"),
    Broken("variable", "--index-url https://${AIRFLOW__FOO__USER}:${AIRFLOW__FOO__PASS}@example.com/simple"),
    Broken("credentials-in-url", "--extra-index-url https://me:hunter2@example.com/simple"),
    Broken("trusted-host", "--trusted-host example.com"),
    Broken(
        "insecure-index",
        "--extra-index-url http://example.com/simple ⏎ folium==0.15.1",
        pip="is not a trusted or secure host",
    ),
    Broken("nowhere-to-look", "--no-index ⏎ folium==0.15.1", pip="No matching distribution found"),
    Broken("no-index-missing", "folium==0.15.1", is_private=True, pip="No matching distribution found"),
    Broken("needs-network", "--extra-index-url https://example.com/simple", is_private=True),
    Broken("not-here", "/usr/local/airflow/plugins/maps-1.0-py3-none-any.whl", pip="No such file or directory"),
    Broken("install-time", "torch==2.9.1"),
    Broken("too-large", "a file of 2 MB", content=b"folium==0.15.1\n" * 140_000, pip=None),
)
