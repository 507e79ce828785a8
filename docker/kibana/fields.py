#!/usr/bin/env python3
"""Lists the field names that saved objects and guides use, or checks them against documents.

usage: fields.py FILE…                              prints a line per field: its name, a tab, the places of its use
       fields.py --documents DOCUMENTS.ndjson FILE… exits with 1 if no document contains a field

FILE is an NDJSON file of saved objects, or a Markdown file with queries in code blocks of the languages `kql` and `esql`.
The documents are those of the APM Server, one JSON object per line. Elasticsearch adds some fields when it stores a
document. For these fields, the script looks for the fields from which they are computed.
"""

import json
import re
import sys

# For each field that Elasticsearch adds: the fields of the APM Server's documents, one of which must exist.
ADDED_BY_ELASTICSEARCH = {
    "processor.event": ["data_stream.dataset"],
    "transaction.duration.us": ["event.duration"],
    "span.duration.us": ["event.duration"],
    "error.grouping_name": ["error.exception.message", "error.log.message"],
}


def of_query(query):
    """Returns the fields of a KQL query."""
    without_values = re.sub(r'"(?:\\.|[^"\\])*"', '""', query)
    return re.findall(r"([\w@][\w@.*-]*)\s*(?::|[<>]=?)", without_values)


def of_esql(query):
    """Returns the fields of an ES|QL query: the names with a dot, and `@timestamp`."""
    without_source = "\n".join(line for line in query.splitlines() if not line.startswith("FROM "))
    without_values = re.sub(r'"(?:\\.|[^"\\])*"', '""', without_source)
    return re.findall(r"@timestamp|[a-z_]\w*(?:\.\w+)+", without_values)


def of_guide(text, place):
    """Yields (field, place) for each use in the code blocks of a Markdown file."""
    for language, query in re.findall(r"^```(kql|esql)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield from ((field, place) for field in (of_query if language == "kql" else of_esql)(query))


def of_script(script):
    return re.findall(r"doc\[\s*'([^']+)'\s*\]|containsKey\(\s*'([^']+)'\s*\)", script)


def walk(value):
    """Yields (field, kind of use) for each use in an object whose JSON strings are parsed."""
    if isinstance(value, list):
        for item in value:
            yield from walk(item)
        return
    if not isinstance(value, dict):
        return
    if value.get("language") == "kuery":
        yield from ((field, "query") for field in of_query(value["query"]))
    for name in ("sourceField", "fieldName", "timeFieldName"):
        if name in value and value[name] != "___records___":
            yield value[name], name
    if "meta" in value and "query" in value:
        yield value["meta"]["field"], "filter"
        yield from ((field, "filter") for kind in value["query"].values() for field in kind)
    for name, item in value.items():
        yield from walk(item)


def parse(value):
    if isinstance(value, list):
        return [parse(item) for item in value]
    if isinstance(value, dict):
        return {name: parse(json.loads(item) if name.endswith("JSON") else item) for name, item in value.items()}
    return value


def uses(objects):
    """Returns the fields that exist in Elasticsearch, each with the places of its use."""
    found, runtime = {}, set()
    for one in objects:
        attributes = parse(one["attributes"])
        panels = attributes.pop("panelsJSON", [])
        places = list(walk(attributes))
        places += [(field, "columns") for field in attributes.get("columns", [])]
        places += [(field, "sort") for field, _ in attributes.get("sort", [])]
        for name, field in json.loads(attributes.get("runtimeFieldMap", "{}")).items():
            runtime.add(name)
            places += [(first or second, f"script of {name}") for first, second in of_script(field["script"]["source"])]
        places += [(name, "format") for name in json.loads(attributes.get("fieldFormatMap", "{}"))]
        for panel in panels:
            places += [(field, f"panel {panel['panelIndex']}") for field, _ in walk(panel)]
        for field, place in places:
            found.setdefault(field, set()).add(f"{one['id']} ({place})")
    return {field: sorted(places) for field, places in sorted(found.items()) if field not in runtime}


def names_of(document, prefix=""):
    """Returns the names of all fields of a document. Lists add no level to a name."""
    if isinstance(document, list):
        return {name for item in document for name in names_of(item, prefix)}
    if isinstance(document, dict):
        inside = {name for key, item in document.items() for name in names_of(item, f"{prefix}{key}.")}
        return inside | ({prefix[:-1]} if prefix else set())
    return {prefix[:-1]}


def metrics_of(document):
    """Returns the names of the samples of a metric set, which Elasticsearch stores as fields."""
    return {sample["name"] for sample in document.get("metricset", {}).get("samples", [])}


def uses_in(paths):
    """Returns the fields that files use, each with the places of its use."""
    found = {}
    for path in paths:
        if path.endswith(".md"):
            with open(path, encoding="utf-8") as file:
                places = [(field, {place}) for field, place in of_guide(file.read(), path)]
        else:
            places = uses(read(path)).items()
        for field, where in places:
            found.setdefault(field, set()).update(where)
    return {field: sorted(places) for field, places in sorted(found.items())}


def missing(used, documents):
    """Returns the fields that no document has, each with the places of its use."""
    existing = {name for document in documents for name in names_of(document) | metrics_of(document)}
    return {
        field: places
        for field, places in used.items()
        if not existing.intersection(ADDED_BY_ELASTICSEARCH.get(field, [field]))
    }


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def main(arguments):
    if arguments[:1] == ["--documents"] and len(arguments) > 2:
        absent = missing(uses_in(arguments[2:]), read(arguments[1]))
        for field, places in absent.items():
            print(f"{field} is in no document; used by {', '.join(places)}", file=sys.stderr)
        sys.exit(bool(absent))
    elif arguments and not arguments[0].startswith("-"):
        for field, places in uses_in(arguments).items():
            print(f"{field}\t{', '.join(places)}")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
