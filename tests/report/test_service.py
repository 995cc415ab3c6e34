"""The agent's status as a person reads it."""

from __future__ import annotations

from kebpf.report.service import describe_status, show_age, show_size
from tests.agent.builders import make_status, make_target_status


def test_the_whole_text() -> None:
    failing = make_target_status(
        name="pay",
        follows="executable /srv/pay",
        state="failing",
        processes=[],
        watched=[],
        version="",
        set="",
        last_set="/var/lib/kebpf/pay/2026-11-22-aaaa",
        requests=1,
        unique=0,
        test_cases=0,
        rate=0.0,
        lost_events=2,
        lost_bytes=2048,
        last_error="the recorder process was ended by SIGKILL",
        last_error_at=make_status()["now"] - 61,
    )
    assert describe_status(make_status(make_target_status(), failing)) == (
        "agent (process 1234) for 3 d 4 h: 2 targets, 5.0 MiB on disk, 100.0 MiB of memory\n"
        "\n"
        "shop: recording (unit shop.service)\n"
        "  follows   python3.11 4711; 2 processes watched\n"
        "  version   3f9a1c22d0b7\n"
        "  requests  12,431 requests → 87 unique (203 test cases, 200 mocks), 12.5/s\n"
        "  lost      nothing\n"
        "  set       /var/lib/kebpf/shop/2026-11-23-3f9a1c22d0b7\n"
        "\n"
        "pay: failing (executable /srv/pay)\n"
        "  requests  1 request → 0 unique (0 test cases, 200 mocks), 0/s\n"
        "  lost      2 events, 2.0 KiB\n"
        "  last set  /var/lib/kebpf/pay/2026-11-22-aaaa\n"
        "  error     1 min 1 s ago: the recorder process was ended by SIGKILL\n"
    )


def test_nothing_is_wider_than_80_columns_but_a_path() -> None:
    crowd = [{"pid": 10**6 + n, "program": "a" * 15, "version": "x"} for n in range(20)]
    told = describe_status(
        make_status(
            make_target_status(processes=crowd, last_error="word " * 60, name="n" * 64),
            config_error="/etc/kebpf/kebpf.yml, line 3: " + "reason " * 30,
        )
    )
    assert all(len(line) <= 80 for line in told.splitlines())
    assert "and 12 more" in " ".join(told.split())
    assert "\x1b" not in describe_status(make_status(make_target_status(name="a\x1b[31m")))


def test_sizes_and_ages() -> None:
    assert [show_size(n) for n in (0, 1023, 1024, 3 << 30)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "3.0 GiB",
    ]
    assert [show_age(n) for n in (-1, 0, 59, 60, 3661)] == [
        "0 s",
        "0 s",
        "59 s",
        "1 min",
        "1 h 1 min",
    ]
