"""Rules for requests that are left out of a recording: health checks and what else probes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate

from kebpf.protocols.base import Document


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """Globs: for a path without its query, a method, a user agent; a request must match all."""

    path: str = "*"
    method: str = "*"
    user_agent: str = "*"

    def matches(self, method: str, path: str, user_agent: str) -> bool:
        """Whether a request falls under the rule."""
        return (
            fnmatchcase(path, self.path)
            and fnmatchcase(method, self.method)
            and (self.user_agent == "*" or fnmatchcase(user_agent, self.user_agent))
        )

    def describe(self) -> str:
        """The rule in a few words, as a summary names it."""
        parts = [self.method] if self.method != "*" else []
        parts += [self.path] if self.path != "*" else []
        parts += [f"user agent {self.user_agent}"] if self.user_agent != "*" else []
        return " ".join(parts)


PATHS = (
    "/health", "/health/*", "/healthz", "/healthcheck", "/health-check", "/ready", "/readyz",
    "/readiness", "/live", "/livez", "/liveness", "/metrics", "/actuator/health",
    "/actuator/health/*", "/actuator/prometheus",
)  # fmt: skip
USER_AGENTS = (
    "kube-probe/*", "ELB-HealthChecker/*", "GoogleHC/*", "Amazon-Route53-Health-Check-Service*",
    "Envoy/HC", "Consul Health Check", "Prometheus/*",
)  # fmt: skip
DEFAULTS = (
    *(LeaveOut(path=path, method=method) for path in PATHS for method in ("GET", "HEAD")),
    *(LeaveOut(user_agent=agent) for agent in USER_AGENTS),
)


@dataclass(frozen=True, slots=True)
class Sifting:
    """What of a recording's requests is kept: only ``unique`` ones, none that are left out."""

    unique: bool = False
    leave_out: Sequence[LeaveOut] = ()


class Rules:
    """Says why a request is left out."""

    def __init__(self, rules: Iterable[LeaveOut]) -> None:
        self._rules: Sequence[LeaveOut] = list(rules)
        self._paths = _compile(rule.path for rule in self._rules if rule.path != "*")
        self._agents = _compile(rule.user_agent for rule in self._rules if rule.path == "*")

    def find_reason(self, request: Document) -> str | None:
        """The first rule that an HTTP request falls under, as a reason; ``None``: it stays."""
        if not self._rules:
            return None
        path = _text(request.get("target")).partition("?")[0]
        path = path.rstrip("/") or "/"
        agent = _find_user_agent(request)
        if self._paths.match(path) is None and self._agents.match(agent) is None:
            return None  # most requests
        method = _text(request.get("method"))
        for rule in self._rules:
            if rule.matches(method, path, agent):
                return f"leave_out: {rule.describe()}"
        return None


def _compile(globs: Iterable[str]) -> re.Pattern[str]:
    """What matches any of them."""
    return re.compile("|".join(map(translate, globs)) or r"(?!)")


def _find_user_agent(request: Document) -> str:
    for name, value in request.get("headers") or ():
        if _text(name).lower() == "user-agent":
            return _text(value)
    return ""


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
