"""Rules say of which requests none is kept."""

from __future__ import annotations

import pytest

from kebpf.recording.dedup.leaving import DEFAULTS, LeaveOut, Rules
from tests.recording.builders import make_request


@pytest.mark.parametrize(
    "target", ["/health", "/health/", "/healthz?full=1", "/readyz", "/metrics", "/health/db"]
)
def test_health_checks_are_left_out_as_is_usual(target: str) -> None:
    assert Rules(DEFAULTS).find_reason(make_request(target)) is not None


@pytest.mark.parametrize(
    "target", ["/", "/healthy", "/api/health", "/orders/metrics", "/livestock"]
)
def test_what_only_looks_alike_stays(target: str) -> None:
    assert Rules(DEFAULTS).find_reason(make_request(target)) is None


def test_a_request_with_an_effect_is_no_probe() -> None:
    assert Rules(DEFAULTS).find_reason(make_request("/health", method="POST")) is None


@pytest.mark.parametrize("agent", ["kube-probe/1.29", "ELB-HealthChecker/2.0", b"GoogleHC/1.0"])
def test_probes_are_known_by_their_user_agent(agent: str | bytes) -> None:
    request = make_request("/orders") | {"headers": [["Host", "a"], ["user-Agent", agent]]}
    assert "user agent" in str(Rules(DEFAULTS).find_reason(request))


def test_a_rule_of_several_parts_needs_all() -> None:
    rules = Rules([LeaveOut(path="/internal/*", method="GET", user_agent="cron/*")])
    request = make_request("/internal/x") | {"headers": [["User-Agent", "cron/1"]]}
    assert rules.find_reason(request) == "leave_out: GET /internal/* user agent cron/*"
    assert rules.find_reason(request | {"method": "PUT"}) is None
    assert rules.find_reason(make_request("/internal/x")) is None


def test_without_rules_everything_stays() -> None:
    assert Rules([]).find_reason(make_request("/health")) is None


def test_a_rule_about_the_method_alone_is_one_too() -> None:
    assert Rules([LeaveOut(method="OPTIONS")]).find_reason(make_request("/a", method="OPTIONS"))
