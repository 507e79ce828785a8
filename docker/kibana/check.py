#!/usr/bin/env python3
"""Checks the structure of saved objects: check.py FILE.ndjson…

Kibana also imports objects with invalid references or columns, and shows an error only when a user opens them.
"""

import json
import re
import sys

NEWEST = {"index-pattern": (8, 0, 0), "search": (10, 5, 0), "dashboard": (10, 3, 0)}
NEWEST_CORE = (8, 8, 0)
REQUIRED = {
    "index-pattern": ["title", "name", "timeFieldName", "runtimeFieldMap", "fieldFormatMap"],
    "search": ["title", "columns", "sort", "kibanaSavedObjectMeta"],
    "dashboard": ["title", "panelsJSON", "optionsJSON", "timeRestore", "kibanaSavedObjectMeta"],
}
OPERATIONS = {
    "count": set(),
    "sum": set(),
    "unique_count": set(),
    "percentile": {"percentile"},
    "date_histogram": {"interval"},
    "terms": {"size", "orderBy", "orderDirection"},
}
BUCKETS = {"date_histogram", "terms"}
GRID = 48


class Checker:
    """Collects the faults of the objects of one import."""

    def __init__(self, objects):
        self.objects = objects
        self.faults = []
        self.keys = [(one.get("type"), one.get("id")) for one in objects]
        self.view_fields = {}

    def fault(self, where, message):
        self.faults.append(f"{where}: {message}")

    def run(self):
        for key in {key for key in self.keys if self.keys.count(key) > 1}:
            self.fault(key[1], "is defined twice")
        for one in self.objects:
            self.check_object(one)
        return self.faults

    def check_object(self, one):
        where = one.get("id", "object without an id")
        kind = one.get("type")
        if kind not in REQUIRED:
            return self.fault(where, f"unknown type {kind}")
        unknown = set(one) - {"type", "id", "attributes", "references", "coreMigrationVersion", "typeMigrationVersion"}
        if unknown:
            self.fault(where, f"unknown keys {sorted(unknown)}")
        for key, newest in [("coreMigrationVersion", NEWEST_CORE), ("typeMigrationVersion", NEWEST[kind])]:
            self.check_version(where, key, one.get(key), newest)
        attributes = one.get("attributes", {})
        for name in REQUIRED[kind]:
            if name not in attributes:
                self.fault(where, f"has no {name}")
        references = self.check_references(where, one.get("references"))
        parsed = self.parse(where, attributes)
        used = self.index_names(parsed)
        if kind == "dashboard":
            used += self.check_dashboard(where, parsed)
        if kind == "search":
            self.check_search(where, parsed, used)
        for name in used:
            if name not in references:
                self.fault(where, f"uses the reference {name}, which it does not have")
        for name in references:
            if name not in used:
                self.fault(where, f"does not use the reference {name}")

    def check_version(self, where, key, version, newest):
        if not isinstance(version, str) or not re.fullmatch(r"\d+\.\d+\.\d+", version):
            self.fault(where, f"{key} is {version}")
        elif tuple(map(int, version.split("."))) > newest:
            self.fault(where, f"{key} {version} is newer than Kibana 9.0 reads")

    def check_references(self, where, references):
        if not isinstance(references, list):
            self.fault(where, "has no list of references")
            return []
        names = []
        for one in references:
            if set(one) != {"type", "id", "name"}:
                self.fault(where, f"a reference has the keys {sorted(one)}")
                continue
            if (one["type"], one["id"]) not in self.keys:
                self.fault(where, f"refers to {one['type']} {one['id']}, which is not in the file")
            if one["name"] in names:
                self.fault(where, f"has two references {one['name']}")
            names.append(one["name"])
        return names

    def parse(self, where, value):
        """Returns a copy in which strings that contain JSON are parsed."""
        if isinstance(value, list):
            return [self.parse(where, item) for item in value]
        if not isinstance(value, dict):
            return value
        parsed = {}
        for name, item in value.items():
            if name.endswith("JSON") or name in ("fields", "fieldAttrs", "fieldFormatMap", "runtimeFieldMap", "sourceFilters", "typeMeta") and "timeFieldName" in value:
                try:
                    item = json.loads(item)
                except (TypeError, ValueError):
                    self.fault(where, f"{name} is not a string that contains JSON")
                    item = {}
            parsed[name] = self.parse(where, item)
        return parsed

    def index_names(self, value):
        """Returns the names of all references in search sources and filters."""
        if isinstance(value, list):
            return [name for item in value for name in self.index_names(item)]
        if not isinstance(value, dict):
            return []
        own = [value["indexRefName"]] if "indexRefName" in value else []
        return own + [name for item in value.values() for name in self.index_names(item)]

    def check_search(self, where, attributes, used):
        if not used:
            self.fault(where, "has no data view")
        if not all(isinstance(column, str) for column in attributes.get("columns", [])):
            self.fault(where, "a column is not the name of a field")

    def check_dashboard(self, where, attributes):
        used, taken = [], {}
        for panel in attributes.get("panelsJSON") or []:
            identifier = panel.get("panelIndex")
            inside = f"{where}, panel {identifier}"
            self.check_grid(inside, panel, taken)
            if panel.get("type") != "lens":
                self.fault(inside, f"is a {panel.get('type')}, not a Lens panel")
                continue
            lens = panel.get("embeddableConfig", {}).get("attributes", {})
            names = [one["name"] for one in lens.get("references", [])]
            used += [f"{identifier}:{name}" for name in names]
            self.check_lens(inside, lens, names)
        for identifier, control in (attributes.get("controlGroupInput", {}).get("panelsJSON") or {}).items():
            explicit = control.get("explicitInput", {})
            if explicit.get("id") != identifier or not explicit.get("fieldName"):
                self.fault(where, f"the control {identifier} has the input {explicit}")
            used.append(f"controlGroup_{identifier}:optionsListDataView")
        return used

    def check_grid(self, where, panel, taken):
        grid = panel.get("gridData", {})
        if grid.get("i") != panel.get("panelIndex"):
            self.fault(where, "gridData.i is not panelIndex")
        try:
            x, y, width, height = (grid[key] for key in "xywh")
        except KeyError as missing:
            return self.fault(where, f"gridData has no {missing}")
        if min(x, y) < 0 or min(width, height) < 1 or x + width > GRID:
            self.fault(where, f"is outside of the grid of {GRID} columns")
        for cell in ((column, row) for column in range(x, x + width) for row in range(y, y + height)):
            other = taken.setdefault(cell, panel.get("panelIndex"))
            if other != panel.get("panelIndex"):
                return self.fault(where, f"covers the panel {other}")

    def check_lens(self, where, lens, names):
        state = lens.get("state", {})
        layers = state.get("datasourceStates", {}).get("formBased", {}).get("layers", {})
        if not layers:
            self.fault(where, "has no layer")
        accessors = self.accessors(where, lens.get("visualizationType"), state.get("visualization", {}))
        if set(accessors) != set(layers):
            self.fault(where, f"shows the layers {sorted(accessors)}, and has {sorted(layers)}")
        for identifier, layer in layers.items():
            columns = layer.get("columns", {})
            if f"indexpattern-datasource-layer-{identifier}" not in names:
                self.fault(where, f"the layer {identifier} has no data view")
            order = layer.get("columnOrder", [])
            if sorted(order) != sorted(columns):
                self.fault(where, "columnOrder does not list each column once")
            buckets = [columns[name].get("isBucketed", False) for name in order if name in columns]
            if buckets != sorted(buckets, reverse=True):
                self.fault(where, "columnOrder has a bucket after a metric")
            shown = accessors.get(identifier, [])
            if sorted(shown) != sorted(columns):
                self.fault(where, f"shows the columns {sorted(shown)}, and has {sorted(columns)}")
            for name, column in columns.items():
                self.check_column(f"{where}, column {name}", column, columns)

    def accessors(self, where, kind, visualization):
        """Returns the columns that a visualization shows, by layer."""
        if kind == "lnsMetric":
            return {visualization.get("layerId"): [visualization.get("metricAccessor")]}
        if kind == "lnsDatatable":
            return {visualization.get("layerId"): [column.get("columnId") for column in visualization.get("columns", [])]}
        if kind == "lnsXY":
            shown = {}
            for layer in visualization.get("layers", []):
                optional = [layer[key] for key in ("xAccessor", "splitAccessor") if key in layer]
                shown[layer.get("layerId")] = layer.get("accessors", []) + optional
            return shown
        self.fault(where, f"unknown visualization {kind}")
        return {}

    def check_column(self, where, column, columns):
        operation = column.get("operationType")
        if operation not in OPERATIONS:
            return self.fault(where, f"unknown operation {operation}")
        missing = OPERATIONS[operation] - set(column.get("params", {}))
        if missing:
            self.fault(where, f"{operation} has no {sorted(missing)}")
        if column.get("isBucketed") != (operation in BUCKETS):
            self.fault(where, f"isBucketed is {column.get('isBucketed')} for {operation}")
        if not column.get("sourceField"):
            self.fault(where, "has no sourceField")
        if (operation == "count") != (column.get("sourceField") == "___records___"):
            self.fault(where, f"{operation} of {column.get('sourceField')}")
        if operation == "terms" and "orderBy" in column.get("params", {}):
            by = column["params"]["orderBy"].get("columnId")
            if by not in columns or columns[by].get("isBucketed"):
                self.fault(where, f"is ordered by {by}, which is not a metric of the layer")


def check(lines):
    """Returns the faults of the objects, one object per line."""
    objects = []
    for number, line in enumerate(lines, 1):
        try:
            objects.append(json.loads(line))
        except ValueError as error:
            return [f"line {number}: {error}"]
    if not objects:
        return ["no objects"]
    return Checker(objects).run()


def main():
    if len(sys.argv) == 1:
        sys.exit(__doc__)
    status = 0
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            faults = check(file.read().splitlines())
        for fault in faults:
            print(f"{path}: {fault}", file=sys.stderr)
            status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
