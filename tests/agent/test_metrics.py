"""The metrics, as Prometheus's own parser reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from kebpf.agent.metrics import write_metrics
from tests.agent.builders import make_status, make_target_status


def test_a_parser_reads_what_the_status_says() -> None:
    status = make_status(
        make_target_status(), make_target_status(name='a "b"\\', state="waiting", requests=0)
    )
    families = list(text_string_to_metric_families(write_metrics(status)))
    samples = {
        (one.name, one.labels.get("target")): one.value
        for family in families
        for one in family.samples
    }
    assert samples["kebpf_target_requests_total", "shop"] == 12431
    assert samples["kebpf_target_requests_total", 'a "b"\\'] == 0
    assert samples["kebpf_target_up", "shop"] == 1
    assert samples["kebpf_target_up", 'a "b"\\'] == 0
    assert samples["kebpf_target_processes", "shop"] == 2
    assert samples["kebpf_target_longest_follow_seconds", "shop"] == 0.125
    assert samples["kebpf_agent_disk_bytes", None] == 5 << 20
    kinds = {family.name: (family.type, bool(family.documentation)) for family in families}
    assert kinds["kebpf_target_requests"] == ("counter", True)
    assert all(is_documented for _, is_documented in kinds.values())
