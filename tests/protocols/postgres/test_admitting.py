"""Who is let in at once, who by SCRAM, and what is said of who cannot be."""

from __future__ import annotations

import struct

import pytest

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.admitting import UNKNOWN, Admission
from kebpf.protocols.postgres.scram import Login

OK = b"R" + struct.pack("!II", 8, 0)
INITIAL = b"SCRAM-SHA-256\0" + struct.pack("!I", 10) + b"n,,n=,r=ab"


@pytest.mark.parametrize(
    ("login", "method"),
    [
        (Login(), None),
        (Login(["p"]), None),
        (Login([], is_insisting=True, in_the_clear=True), None),
        (Login(["p"], is_insisting=True), None),  # no certificate it could bind the channel to
        (Login(["p"], is_insisting=True, certificate=b"c"), "trust"),
        (Login(["p"], is_insisting=True, in_the_clear=True), "md5"),
    ],
)
def test_most_are_let_in_at_once(login: Login, method: str | None) -> None:
    """Who has no password goes away when asked for one."""
    admission = Admission(login, b"welcome", method)
    assert admission.begin() == OK + b"welcome"
    assert admission.is_open


@pytest.mark.parametrize("method", [None, "scram-sha-256"])
def test_one_that_insists_is_asked(method: str | None) -> None:
    login = Login(["p"], is_insisting=True, in_the_clear=True)
    admission = Admission(login, b"welcome", method)
    assert admission.begin() == b"R" + struct.pack("!II", 23, 10) + b"SCRAM-SHA-256\0\0"
    asked = admission.receive(m.PasswordMessage(INITIAL))
    assert asked[:1] + asked[5:9] == b"R" + struct.pack("!I", 11)
    assert not admission.is_open
    nonce = asked[9:].split(b",")[0]
    wrong = admission.receive(m.PasswordMessage(b"c=biws,%b,p=eA==" % nonce))
    assert wrong == OK + b"welcome"  # libpq takes that, unless it insists
    assert admission.problem is None
    admission.end()
    assert admission.problem == UNKNOWN


@pytest.mark.parametrize("login", [Login(), Login([], is_insisting=True)])
def test_one_that_leaves_when_it_is_let_in_may_have_insisted(login: Login) -> None:
    admission = Admission(login, b"")
    admission.begin()
    admission.end()
    assert admission.problem == (UNKNOWN if login.is_insisting else None)


@pytest.mark.parametrize("data", [b"", b"SCRAM-SHA-256\0", b"SCRAM-SHA-256\0\0\0\0\x09abc", b"x"])
def test_damaged_answers_are_protocol_errors(data: bytes) -> None:
    admission = Admission(Login(["p"], is_insisting=True), b"")
    admission.begin()
    with pytest.raises(ProtocolError):
        admission.receive(m.PasswordMessage(data))
    with pytest.raises(ProtocolError):
        Admission(Login(), b"").receive(m.Query("SELECT 1"))
