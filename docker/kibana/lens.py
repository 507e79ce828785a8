"""Builders for Kibana's saved objects, in the form of Kibana's export: one JSON object per line.

Attributes whose name ends in JSON are strings that contain JSON. The versions are intentionally old: Kibana migrates objects
of older versions, but refuses objects of newer versions.
"""

import json

CORE_VERSION = "8.8.0"
TYPE_VERSIONS = {"index-pattern": "8.0.0", "search": "10.5.0", "dashboard": "10.2.0"}
LAYER = "layer"
LAYER_REFERENCE = f"indexpattern-datasource-layer-{LAYER}"
SEARCH_SOURCE = "kibanaSavedObjectMeta.searchSourceJSON"


def text(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def kql(query):
    return {"query": query, "language": "kuery"}


def reference(kind, identifier, name):
    return {"type": kind, "id": identifier, "name": name}


def saved_object(kind, identifier, attributes, references=()):
    return {
        "type": kind,
        "id": identifier,
        "attributes": attributes,
        "references": list(references),
        "coreMigrationVersion": CORE_VERSION,
        "typeMigrationVersion": TYPE_VERSIONS[kind],
    }


# Data views


def data_view(identifier, name, pattern, runtime_fields=None, formats=None):
    """`runtime_fields` maps names to (type, Painless script); `formats` maps field names to formats."""
    fields = {name: {"type": kind, "script": {"source": source}} for name, (kind, source) in (runtime_fields or {}).items()}
    attributes = {
        "name": name,
        "title": pattern,
        "timeFieldName": "@timestamp",
        "fields": "[]",
        "fieldAttrs": "{}",
        "fieldFormatMap": text(formats or {}),
        "runtimeFieldMap": text(fields),
        "sourceFilters": "[]",
        "typeMeta": "{}",
    }
    return saved_object("index-pattern", identifier, attributes)


MICROSECONDS = {
    "id": "duration",
    "params": {
        "inputFormat": "microseconds",
        "outputFormat": "asMilliseconds",
        "outputPrecision": 1,
        "showSuffix": True,
        "useShortSuffix": True,
    },
}

# Searches in Discover


def pinned_phrase(field, value, index):
    """Returns a filter that stays active when the user opens a dashboard. `index` is its position in the search."""
    name = f"{SEARCH_SOURCE}.filter[{index}].meta.index"
    meta = {
        "alias": None,
        "disabled": False,
        "negate": False,
        "type": "phrase",
        "key": field,
        "field": field,
        "params": {"query": value},
        "indexRefName": name,
    }
    return {"$state": {"store": "globalState"}, "meta": meta, "query": {"match_phrase": {field: value}}}, name


def search(identifier, title, description, view, query, columns, filters=()):
    """`filters` are pairs of a filter and the name of its reference to the data view."""
    index = f"{SEARCH_SOURCE}.index"
    source = {"query": kql(query), "filter": [one for one, _ in filters], "indexRefName": index}
    attributes = {
        "title": title,
        "description": description,
        "columns": columns,
        "sort": [["@timestamp", "desc"]],
        "grid": {},
        "hideChart": False,
        "isTextBasedQuery": False,
        "timeRestore": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": text(source)},
    }
    names = [index] + [name for _, name in filters]
    return saved_object("search", identifier, attributes, [reference("index-pattern", view, name) for name in names])


# Columns of Lens


def _column(label, operation, field, data_type, bucketed, scale, params, query=None):
    column = {
        "label": label,
        "customLabel": True,
        "dataType": data_type,
        "isBucketed": bucketed,
        "operationType": operation,
        "scale": scale,
        "sourceField": field,
        "params": params,
    }
    if query:
        column["filter"] = kql(query)
    return column


def count(label, query=None):
    return _column(label, "count", "___records___", "number", False, "ratio", {"emptyAsNull": False}, query)


def total(label, field):
    return _column(label, "sum", field, "number", False, "ratio", {"emptyAsNull": False})


def distinct(label, field):
    return _column(label, "unique_count", field, "number", False, "ratio", {"emptyAsNull": False})


def percentile(label, field, percent):
    return _column(label, "percentile", field, "number", False, "ratio", {"percentile": percent})


def over_time(label="Time"):
    params = {"interval": "auto", "includeEmptyRows": True, "dropPartials": False}
    return _column(label, "date_histogram", "@timestamp", "date", True, "interval", params)


def top(label, field, by, size):
    """Returns a column with the `size` most frequent values, or those with the highest value in the column `by`."""
    params = {
        "size": size,
        "orderBy": {"type": "column", "columnId": by},
        "orderDirection": "desc",
        "otherBucket": False,
        "missingBucket": False,
        "parentFormat": {"id": "terms"},
    }
    return _column(label, "terms", field, "string", True, "ordinal", params)


# Panels: each function returns the panel and its references


def _lens(panel, title, kind, view, query, columns, visualization):
    identifier, x, y, width, height = panel
    # buckets come first, from the outermost to the innermost
    order = sorted(columns, key=lambda name: not columns[name]["isBucketed"])
    layer = {"columns": columns, "columnOrder": order, "incompleteColumns": {}, "sampling": 1}
    attributes = {
        "title": title,
        "type": "lens",
        "visualizationType": kind,
        "references": [reference("index-pattern", view, LAYER_REFERENCE)],
        "state": {
            "visualization": visualization,
            "query": kql(query),
            "filters": [],
            "datasourceStates": {"formBased": {"layers": {LAYER: layer}}},
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }
    body = {
        "type": "lens",
        "title": title,
        "panelIndex": identifier,
        "gridData": {"i": identifier, "x": x, "y": y, "w": width, "h": height},
        "embeddableConfig": {"enhancements": {}, "attributes": attributes},
    }
    return body, [reference("index-pattern", view, f"{identifier}:{LAYER_REFERENCE}")]


def number(panel, title, view, query, column):
    visualization = {"layerId": LAYER, "layerType": "data", "metricAccessor": "value"}
    return _lens(panel, title, "lnsMetric", view, query, {"value": column}, visualization)


def chart(panel, title, view, query, value, split=None, series="bar_stacked"):
    columns = {"time": over_time(), "value": value}
    layer = {
        "layerId": LAYER,
        "layerType": "data",
        "seriesType": series,
        "xAccessor": "time",
        "accessors": ["value"],
    }
    if split:
        columns = {"split": split} | columns
        layer["splitAccessor"] = "split"
    visualization = {
        "layers": [layer],
        "preferredSeriesType": series,
        "legend": {"isVisible": True, "position": "right"},
        "valueLabels": "hide",
        "fittingFunction": "None",
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
    }
    return _lens(panel, title, "lnsXY", view, query, columns, visualization)


def table(panel, title, view, query, columns):
    visualization = {"layerId": LAYER, "layerType": "data", "columns": [{"columnId": name} for name in columns]}
    return _lens(panel, title, "lnsDatatable", view, query, columns, visualization)


def dashboard(identifier, title, description, query, panels, controls):
    """`controls` are triples of an identifier, a label and a field with its data view: lists of values to choose from."""
    references = [one for _, panel_references in panels for one in panel_references]
    inputs = {}
    for order, (control, label, field, view) in enumerate(controls):
        inputs[control] = {
            "type": "optionsListControl",
            "order": order,
            "width": "medium",
            "grow": True,
            "explicitInput": {"id": control, "fieldName": field, "title": label, "selectedOptions": []},
        }
        references.append(reference("index-pattern", view, f"controlGroup_{control}:optionsListDataView"))
    ignored = {"ignoreFilters": False, "ignoreQuery": False, "ignoreTimerange": False, "ignoreValidations": False}
    attributes = {
        "title": title,
        "description": description,
        "version": 1,
        "timeRestore": True,
        "timeFrom": "now-1h",
        "timeTo": "now",
        "refreshInterval": {"pause": False, "value": 10000},
        "panelsJSON": text([panel for panel, _ in panels]),
        "optionsJSON": text({"useMargins": True, "syncColors": True, "syncCursor": True, "syncTooltips": False, "hidePanelTitles": False}),
        "controlGroupInput": {
            "chainingSystem": "HIERARCHICAL",
            "controlStyle": "oneLine",
            "ignoreParentSettingsJSON": text(ignored),
            "panelsJSON": text(inputs),
        },
        "kibanaSavedObjectMeta": {"searchSourceJSON": text({"query": kql(query), "filter": []})},
    }
    return saved_object("dashboard", identifier, attributes, references)
