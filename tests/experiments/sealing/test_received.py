"""Archives from elsewhere that would do harm: each is refused with its member named, and nothing is unpacked."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import populace as command
from support.sealed import members

from populace.core.errors import SealBroken, SettingsError
from populace.experiments.sealing import archive, verify


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("society/0/link.py")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def device() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("society/0/device.py")
    info.create_system, info.external_attr = 3, (stat.S_IFIFO | 0o666) << 16
    return info


@pytest.fixture
def more(study, tmp_path):
    """Writes the sealed study with more members in it."""

    def write(*infos: zipfile.ZipInfo | str, content: bytes = b"x", kind: int = zipfile.ZIP_DEFLATED) -> Path:
        path = tmp_path / "more.zip"
        with zipfile.ZipFile(path, "w", kind) as zipped:
            for name, held in members(study.archive).items():
                zipped.writestr(name, held)
            for info in infos:
                zipped.writestr(info, content)
        return path

    return write


def refused(path: Path, said: str, **options: int) -> None:
    before = set(path.parent.rglob("*"))
    with pytest.raises(SealBroken, match=said):
        verify(path, trust=True, out=path.parent / "out", **options)
    assert set(path.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ("/tmp/absolute.py", r"/tmp/absolute\.py: has an absolute path"),
        ("society/../../up.py", r"society/\.\./\.\./up\.py: leads out of its folder"),
        ("C:/windows.py", r"C:/windows\.py: has a character"),
        ("society\\..\\back.py", r"back\.py: has a character"),
        ("society/0/new\nline.py", r"new\\nline\.py: has a character"),
        ("society//double.py", r"society//double\.py: has a name that is not a plain file's"),
        ("society/0/folder/", "society/0/folder/"),
        ("SOCIETY/0/prompt.txt", r"SOCIETY/0/prompt\.txt: is there twice \(as society/0/prompt\.txt\)"),
        ("figures.csv/inner", r"figures\.csv/inner: stands in a folder that is a file"),
        (link(), r"society/0/link\.py: is a link"),
        (device(), r"society/0/device\.py: is no plain file"),
    ],
)
def test_names_and_kinds_that_are_no_plain_files_are_refused(more, info, said):
    refused(more(info), said)


def test_a_doubled_name_is_refused(more):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = more("figures.csv")
    refused(path, r"figures\.csv: is there twice")


def test_a_name_with_a_null_in_it_is_refused(more):
    path = more("society/0/hidden.py_tail")
    path.write_bytes(path.read_bytes().replace(b"hidden.py_tail", b"hidden.py\x00tail"))
    refused(path, r"hidden\.py\\x00tail: has a character")


def test_an_encrypted_member_and_an_odd_compression_are_refused(more):
    path = more("society/0/odd.py", kind=zipfile.ZIP_BZIP2)
    refused(path, "is compressed by method 12")
    path = more("society/0/odd.py")
    data = bytearray(path.read_bytes())
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(path, r"society/0/odd\.py: is encrypted")


def test_too_many_members_are_refused(more, monkeypatch):
    path = more("one", "two")
    monkeypatch.setattr(archive, "MOST_MEMBERS", 20)
    refused(path, "holds 24 members, and a study has at most 20")
    monkeypatch.setattr(archive, "MOST_MEMBERS", 2)
    monkeypatch.setattr(archive, "_ENTRY_BYTES", 50)
    refused(path, r"its list of members is [\d,]+ bytes long")


def test_a_bomb_is_refused_by_what_it_says_and_by_what_it_is(more, study):
    """A member of zeros is 1,000 times as long as it is in the archive; one that says less is not read further."""
    path = more("society/0/zeros", content=bytes(10_000_000))
    assert path.stat().st_size < 100_000
    refused(path, r"society/0/zeros: with it the archive unpacks to more than 1,000,000 bytes", most_bytes=1_000_000)
    data = path.read_bytes()
    size = struct.pack("<L", 10_000_000)
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, struct.pack("<L", 10)))
    with archive.received(path, 1_000_000) as opened, pytest.raises(SealBroken, match="society/0/zeros"):
        opened.read("society/0/zeros")


def test_control_the_study_itself_passes_all_of_these_checks(more):
    with archive.received(more()) as opened:
        opened.check(opened.seal())


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 100, b"PK\x05\x06" + bytes(18)])
def test_what_is_no_zip_or_holds_no_seal_is_refused(tmp_path, content):
    path = tmp_path / "study.zip"
    path.write_bytes(content)
    with pytest.raises(SealBroken, match=r"study\.zip"):
        verify(path, trust=True)
    with pytest.raises(SettingsError, match="is no file"):
        verify(tmp_path / "nowhere.zip")


def test_the_command_ends_with_the_exit_code_of_a_file_that_is_not_what_it_should_be(tmp_path):
    (tmp_path / "study.zip").write_bytes(b"no zip")
    done = command("experiment", "verify", "study.zip", cwd=tmp_path)
    assert done.returncode == 6
    assert "study.zip: is no zip" in done.stderr


def test_an_archive_that_ends_early_is_refused(study, tmp_path):
    data = study.archive.read_bytes()
    for end in _ends(len(data)):
        path = tmp_path / "cut.zip"
        path.write_bytes(data[:end])
        with pytest.raises(SealBroken):
            verify(path, trust=True)


def _ends(length: int) -> Iterator[int]:
    yield from range(0, length, length // 40)
    yield length - 1
