"""Tests of kebpf.recording.digests; the digests were computed with coreutils."""

from __future__ import annotations

from kebpf.recording.digests import EMPTY, find_digests

KEY = "lk_49cLM06Dz_JWSYpp7mAgoFTpBhqZfhCH"
SHA256 = "86539f64f0a0d1c44cf69345f05f05fa1715867ecc30da49db60fe8fead04bae"
MD5 = "27a0eb44a208bae9c8b54bc97615348d"


def test_a_key_behind_its_scheme() -> None:
    assert {SHA256, MD5} <= set(find_digests(f"Bearer {KEY}"))


def test_words_and_numbers_are_not_digested() -> None:
    assert list(find_digests("applicationjson")) == []
    assert list(find_digests("12345678901234567890")) == []


def test_nothing() -> None:
    assert "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" in EMPTY
