import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumortwin import vault
from tumortwin.errors import InputError, OutputExistsError, ReadError

PASSPHRASE = "correct horse battery"


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """scrypt at its true cost takes a third of a second; one test has it."""
    monkeypatch.setattr(vault, "LOG2_N", 10)


def test_what_went_in_comes_out_and_never_twice_the_same():
    content = b"a saved twin" * 1000
    one, other = (vault.encrypt(content, PASSPHRASE) for _ in range(2))
    assert vault.decrypt(one, PASSPHRASE) == vault.decrypt(other, PASSPHRASE) == content
    assert one != other
    assert content[:12] not in one
    assert vault.is_encrypted(one)


def test_at_its_true_cost(monkeypatch):
    monkeypatch.undo()
    locked = vault.encrypt(b"key", PASSPHRASE)
    assert locked[8:11] == bytes([17, 8, 1])
    assert vault.decrypt(locked, PASSPHRASE) == b"key"


def test_a_wrong_passphrase_is_said():
    with pytest.raises(vault.VaultError, match="the passphrase is wrong, or the file was changed"):
        vault.decrypt(vault.encrypt(b"secret", PASSPHRASE), "wrong horse battery")


LOCKED = None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_every_changed_byte_is_noticed(at, by):
    global LOCKED
    before, vault.LOG2_N = vault.LOG2_N, 10
    LOCKED = LOCKED or vault.encrypt(b"secret" * 5, PASSPHRASE)
    vault.LOG2_N = before
    at %= len(LOCKED)
    if at in (8, 9, 10):
        by = 1  # the cost of scrypt: another one is another key, but a test cannot wait for the greatest
    changed = LOCKED[:at] + bytes([LOCKED[at] ^ by]) + LOCKED[at + 1 :]
    with pytest.raises(ReadError):
        vault.decrypt(changed, PASSPHRASE)


def test_what_is_cut_short_or_newer_or_something_else_is_said():
    locked = vault.encrypt(b"secret", PASSPHRASE)
    with pytest.raises(ReadError, match="cut short"):
        vault.decrypt(locked[:40], PASSPHRASE)
    with pytest.raises(ReadError, match="version 2"):
        vault.decrypt(locked[:7] + b"\2" + locked[8:], PASSPHRASE)
    with pytest.raises(ReadError, match="is not encrypted by tumortwin"):
        vault.decrypt(b"PK...", PASSPHRASE)
    with pytest.raises(vault.VaultError, match="header was changed"):
        vault.decrypt(locked[:8] + b"\x3f" + locked[9:], PASSPHRASE)
    with pytest.raises(InputError, match="shorter than 8"):
        vault.encrypt(b"", "short")


def test_keys(tmp_path):
    path = vault.new_key(tmp_path / "keys" / "a.key")
    assert path.stat().st_mode & 0o777 == 0o600
    key = vault.read_key(path)
    assert len(key) == 32
    assert key != vault.read_key(vault.new_key(tmp_path / "b.key"))
    with pytest.raises(OutputExistsError, match="never replaced"):
        vault.new_key(path)
    locked = vault.new_key(tmp_path / "c.key", passphrase=PASSPHRASE)
    assert len(vault.read_key(locked, passphrase=PASSPHRASE)) == 32
    with pytest.raises(vault.VaultError, match="give its passphrase"):
        vault.read_key(locked)
    with pytest.raises(vault.VaultError, match="passphrase is wrong"):
        vault.read_key(locked, passphrase="another horse")


def test_errors_never_show_what_a_key_file_holds(tmp_path):
    path = tmp_path / "x.key"
    for content in (b"tumortwin-key-1 deadbeef\n", b"secret words", b"\xff\xfe\0", b"deadbeef" * 8):
        path.write_bytes(content)
        with pytest.raises(ReadError, match="is not a key file") as caught:
            vault.read_key(path)
        assert "deadbeef" not in str(caught.value)
        assert "words" not in str(caught.value)
    with pytest.raises(ReadError, match="cannot be read"):
        vault.read_key(tmp_path / "missing.key")
