#!/usr/bin/env python3
"""Writes marketplace.ndjson, the saved objects of the marketplace for Kibana 9.

usage: generate.py            writes the file
       generate.py --check    exits with 1 if the file is not what this script writes
"""

import pathlib
import sys

import lens

FILE = pathlib.Path(__file__).with_name("marketplace.ndjson")

EVENTS = "marketplace-events"
METRICS = "marketplace-metrics"

SERVICES = 'service.name: ("marketplace" or "wallet-history")'
REQUESTS = 'processor.event: "transaction" and transaction.type: "request"'
FAILED = 'event.outcome: "failure"'
ERRORS = 'processor.event: "error"'
PURCHASES = 'processor.event: "transaction" and transaction.name: "POST /market/listings/{id}/purchase"'

# The agent reports dropped events only if there are any. A runtime field exists even before the first report.
DROPPED = "doc.containsKey('agent.events.dropped') && doc['agent.events.dropped'].size() > 0"
RUNTIME_FIELDS = {
    "dropped_events": ("double", f"if ({DROPPED}) {{ emit(((Number) doc['agent.events.dropped'].value).doubleValue()) }}"),
    "dropped_reason": (
        "keyword",
        f"if ({DROPPED} && doc.containsKey('labels.reason') && doc['labels.reason'].size() > 0) {{ emit(doc['labels.reason'].value) }}",
    ),
}


def objects():
    yield lens.data_view(
        EVENTS,
        "Marketplace: requests and errors",
        "traces-apm*,logs-apm*",
        formats={"transaction.duration.us": lens.MICROSECONDS},
    )
    yield lens.data_view(METRICS, "Marketplace: metrics", "metrics-apm*", runtime_fields=RUNTIME_FIELDS)
    yield lens.search(
        "marketplace-user",
        "What did this user do",
        "Edit the filter on user.id to see the requests and errors of another user.",
        EVENTS,
        f'processor.event: ("transaction" or "error") and {SERVICES}',
        [
            "service.name",
            "labels.module",
            "transaction.name",
            "transaction.result",
            "labels.listing_id",
            "labels.token_id",
            "labels.order_id",
            "labels.tx_hash",
            "labels.reason",
            "error.grouping_name",
        ],
        [lens.pinned_phrase("user.id", "carol", 0)],
    )
    yield lens.dashboard(
        "marketplace-overview",
        "Marketplace",
        "Requests, failures, purchases and errors by module. Counts are of sampled requests.",
        SERVICES,
        panels(),
        [
            ("module", "Module", "labels.module", EVENTS),
            ("user", "User", "user.id", EVENTS),
        ],
    )


def panels():
    def by_module(size=10):
        return lens.top("Module", "labels.module", "value", size)

    # identifier, x, y, width, height; the grid has 48 columns
    return [
        lens.number(("requests", 0, 0, 12, 6), "Requests", EVENTS, REQUESTS, lens.count("Requests")),
        lens.number(("failed", 12, 0, 12, 6), "Failed requests", EVENTS, REQUESTS, lens.count("Failed requests", FAILED)),
        lens.number(("purchases", 24, 0, 12, 6), "Purchases", EVENTS, PURCHASES, lens.count("Purchases", 'event.outcome: "success"')),
        lens.number(("users", 36, 0, 12, 6), "Users", EVENTS, REQUESTS, lens.distinct("Users", "user.id")),
        lens.chart(("throughput", 0, 6, 24, 12), "Requests by module", EVENTS, REQUESTS, lens.count("Requests"), by_module()),
        lens.chart(("failures", 24, 6, 24, 12), "Failed requests by module", EVENTS, f"{REQUESTS} and {FAILED}", lens.count("Failed requests"), by_module()),
        lens.table(
            ("routes", 0, 18, 24, 14),
            "Slowest routes",
            EVENTS,
            REQUESTS,
            {
                "route": lens.top("Route", "transaction.name", "p95", 10),
                "p95": lens.percentile("95th percentile", "transaction.duration.us", 95),
                "median": lens.percentile("Median", "transaction.duration.us", 50),
                "requests": lens.count("Requests"),
            },
        ),
        lens.table(
            ("errors", 24, 18, 24, 14),
            "Errors by group",
            EVENTS,
            ERRORS,
            {
                "group": lens.top("Error", "error.grouping_name", "errors", 10),
                "module": lens.top("Module", "labels.module", "errors", 1),
                "errors": lens.count("Errors"),
                "users": lens.distinct("Users", "user.id"),
            },
        ),
        lens.chart(
            ("purchases-over-time", 0, 32, 24, 12),
            "Purchases by outcome",
            EVENTS,
            PURCHASES,
            lens.count("Purchases"),
            lens.top("Outcome", "event.outcome", "value", 3),
        ),
        lens.chart(
            ("dropped", 24, 32, 24, 12),
            "Events that the agent dropped",
            METRICS,
            "",
            lens.total("Dropped events", "dropped_events"),
            lens.top("Reason", "dropped_reason", "value", 5),
        ),
    ]


def main():
    content = "".join(lens.text(one) + "\n" for one in objects())
    if sys.argv[1:] == ["--check"]:
        if not FILE.exists() or FILE.read_text() != content:
            sys.exit(f"{FILE.name} is not what generate.py writes: run it")
    elif len(sys.argv) == 1:
        FILE.write_text(content)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
