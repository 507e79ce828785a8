#!/usr/bin/env python3
"""Checks fields that our documents contain in addition to those of the reference: complete.py OURS.ndjson

The reference lets a password through, and its error has lost the user and the labels. Prints what is wrong; exit 1 if
there is anything.
"""
import json
import sys

SECRETS = ["secret1", "secret2", "secret3"]


def causes(error):
    return [exception.get("message") for exception in error["exception"]]


def wrong(lines):
    for line in lines:
        yield from (f"{secret} is in: {line.strip()[:300]}" for secret in SECRETS if secret in line)
    documents = [json.loads(line) for line in lines]
    errors = [document for document in documents if "error" in document]
    if len(errors) != 1:
        yield f"one purchase fails, there are {len(errors)} errors"
    for document in errors:
        labels = document.get("labels", {})
        if document.get("user", {}).get("id") != "0xdef":
            yield f"the error's user is {document.get('user')}"
        if (labels.get("module"), labels.get("token_id"), labels.get("listing_id")) != ("market", "revert-1", "2"):
            yield f"the error's labels are {labels}"
        if "execution reverted" not in causes(document["error"])[-1]:
            yield f"the chain's own message does not come last: {causes(document['error'])}"
    for document in documents:
        # ids are text; only the size of a batch is a number
        for key in document.get("numeric_labels", {}).keys() - {"batch_size"}:
            yield f"label {key} is a number"


if __name__ == "__main__":
    found = list(wrong(open(sys.argv[1]).readlines()))
    print("\n".join(found) or "secrets are kept, errors are complete")
    sys.exit(bool(found))
