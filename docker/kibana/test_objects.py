#!/usr/bin/env python3
"""Tests of the saved objects, of their check and of the list of their fields."""

import copy
import json
import pathlib
import unittest

import check
import fields
import generate
import lens

OBJECTS = list(generate.objects())
PANELS = "panelsJSON"


def faults(objects):
    return check.check([json.dumps(one) for one in objects])


def changed(kind, change):
    """The saved objects after a change of the first object of a type. JSON strings are parsed for the change."""
    objects = copy.deepcopy(OBJECTS)
    one = next(one for one in objects if one["type"] == kind)
    attributes = one["attributes"]
    if PANELS in attributes:
        attributes[PANELS] = json.loads(attributes[PANELS])
    change(one)
    if not isinstance(attributes.get(PANELS, ""), str):
        attributes[PANELS] = lens.text(attributes[PANELS])
    return objects


def panel(one, identifier):
    return next(panel for panel in one["attributes"][PANELS] if panel["panelIndex"] == identifier)


def columns(one, identifier):
    return layer(one, identifier)["columns"]


def state(one, identifier):
    return panel(one, identifier)["embeddableConfig"]["attributes"]["state"]


def layer(one, identifier):
    return state(one, identifier)["datasourceStates"]["formBased"]["layers"][lens.LAYER]


class Structure(unittest.TestCase):
    def test_the_file_is_generated_and_valid(self):
        content = pathlib.Path(generate.FILE).read_text(encoding="utf-8")
        self.assertEqual(content, "".join(lens.text(one) + "\n" for one in OBJECTS))
        self.assertEqual(check.check(content.splitlines()), [])

    def test_each_fault_is_found(self):
        def remove(key):
            return lambda one: one.pop(key)

        def visualization(one, identifier):
            return state(one, identifier)["visualization"]

        def without_data_view(one):
            one["references"].clear()
            one["attributes"]["kibanaSavedObjectMeta"] = {"searchSourceJSON": "{}"}

        def rename_control(one):
            controls = one["attributes"]["controlGroupInput"]
            controls[PANELS] = controls[PANELS].replace('"id":"user"', '"id":"users"')

        rows = [
            ("index-pattern", remove("coreMigrationVersion"), "coreMigrationVersion is None"),
            ("index-pattern", lambda one: one.update(coreMigrationVersion="9.0.0"), "newer"),
            ("search", lambda one: one.update(typeMigrationVersion="13.0.0"), "newer"),
            ("search", lambda one: one.update(typeMigrationVersion="x"), "typeMigrationVersion is x"),
            ("search", lambda one: one.update(type="lens"), "unknown type"),
            ("search", lambda one: one.update(migrationVersion={}), "unknown keys"),
            ("search", lambda one: one.update(id=generate.EVENTS, type="index-pattern"), "is defined twice"),
            ("search", lambda one: one["references"].pop(), "which it does not have"),
            ("search", lambda one: one["references"][0].update(id="missing"), "missing, which is not in the file"),
            ("search", lambda one: one["references"][0].pop("id"), "a reference has the keys"),
            ("search", lambda one: one["references"].append(one["references"][0]), "has two references"),
            ("search", lambda one: one["references"].append({"type": "search", "id": one["id"], "name": "x"}), "does not use the reference x"),
            ("search", lambda one: one.pop("references"), "has no list of references"),
            ("search", lambda one: one["attributes"].pop("columns"), "has no columns"),
            ("search", lambda one: one["attributes"].update(columns=[{"field": "x"}]), "a column is not the name"),
            ("search", lambda one: one["attributes"]["kibanaSavedObjectMeta"].update(searchSourceJSON={}), "is not a string"),
            ("search", without_data_view, "has no data view"),
            ("dashboard", rename_control, "the control user has the input"),
            ("index-pattern", lambda one: one["attributes"].update(runtimeFieldMap={}), "runtimeFieldMap is not a string"),
            ("index-pattern", lambda one: one["attributes"].update(fieldFormatMap="{"), "fieldFormatMap is not a string"),
            ("dashboard", lambda one: one["attributes"].pop("optionsJSON"), "has no optionsJSON"),
            ("dashboard", lambda one: one["references"].pop(), "controlGroup_user:optionsListDataView"),
            ("dashboard", lambda one: one["attributes"][PANELS].pop(), "does not use the reference dropped:"),
            ("dashboard", lambda one: panel(one, "users")["gridData"].update(i="x"), "gridData.i"),
            ("dashboard", lambda one: panel(one, "users")["gridData"].update(w=13), "outside of the grid"),
            ("dashboard", lambda one: panel(one, "users")["gridData"].pop("w"), "gridData has no 'w'"),
            ("dashboard", lambda one: panel(one, "users")["gridData"].update(x=35, w=12), "covers the panel purchases"),
            ("dashboard", lambda one: panel(one, "users").update(type="visualization"), "not a Lens panel"),
            ("dashboard", lambda one: layer(one, "routes")["columnOrder"].pop(), "columnOrder does not list"),
            ("dashboard", lambda one: layer(one, "routes")["columnOrder"].reverse(), "a bucket after a metric"),
            ("dashboard", lambda one: visualization(one, "users").update(metricAccessor="x"), "shows the columns ['x']"),
            ("dashboard", lambda one: visualization(one, "users").update(layerId="x"), "shows the layers ['x']"),
            ("dashboard", lambda one: visualization(one, "routes")["columns"].pop(), "shows the columns"),
            ("dashboard", lambda one: visualization(one, "dropped")["layers"][0].pop("splitAccessor"), "shows the columns"),
            ("dashboard", lambda one: state(one, "users")["datasourceStates"].clear(), "has no layer"),
            ("dashboard", lambda one: columns(one, "users")["value"].update(operationType="uniq"), "unknown operation uniq"),
            ("dashboard", lambda one: columns(one, "users")["value"].update(sourceField=""), "has no sourceField"),
            ("dashboard", lambda one: columns(one, "users")["value"].update(sourceField="___records___"), "unique_count of ___records___"),
            ("dashboard", lambda one: columns(one, "requests")["value"].update(sourceField="user.id"), "count of user.id"),
            ("dashboard", lambda one: columns(one, "requests")["value"].update(isBucketed=True), "isBucketed is True for count"),
            ("dashboard", lambda one: columns(one, "routes")["p95"]["params"].clear(), "percentile has no"),
            ("dashboard", lambda one: columns(one, "routes")["route"]["params"]["orderBy"].update(columnId="x"), "is ordered by x"),
            ("dashboard", lambda one: panel(one, "users")["embeddableConfig"]["attributes"].update(references=[]), "has no data view"),
            ("dashboard", lambda one: panel(one, "users")["embeddableConfig"]["attributes"].update(visualizationType="lnsX"), "unknown visualization lnsX"),
        ]
        for number, (kind, change, message) in enumerate(rows):
            with self.subTest(number=number, message=message):
                found = faults(changed(kind, change))
                self.assertTrue(any(message in fault for fault in found), found)

    def test_a_line_that_is_not_json_is_reported(self):
        self.assertIn("line 1", check.check(["{"])[0])
        self.assertEqual(check.check([]), ["no objects"])


class Fields(unittest.TestCase):
    def test_fields_of_a_query(self):
        query = 'a.b: "x: y" and not (c >= 2 or d: (e or "f")) and @g : *'
        self.assertEqual(fields.of_query(query), ["a.b", "c", "d", "@g"])

    def test_fields_of_each_kind_of_use_are_listed(self):
        uses = fields.uses(OBJECTS)
        for field, place in [
            ("labels.tx_hash", "marketplace-user (columns)"),
            ("@timestamp", "marketplace-user (sort)"),
            ("user.id", "marketplace-user (filter)"),
            ("user.id", "marketplace-overview (fieldName)"),
            ("service.name", "marketplace-overview (query)"),
            ("transaction.duration.us", "marketplace-overview (panel routes)"),
            ("transaction.duration.us", "marketplace-events (format)"),
            ("event.outcome", "marketplace-overview (panel failed)"),
            ("agent.events.dropped", "marketplace-metrics (script of dropped_events)"),
        ]:
            self.assertIn(place, uses[field])

    def test_runtime_fields_are_not_listed(self):
        self.assertFalse({"dropped_events", "dropped_reason", "___records___"} & set(fields.uses(OBJECTS)))

    def test_fields_of_queries_in_guides(self):
        guide = (
            "`a.prose`\n```kql\nuser.id : \"b.value\" and labels.kql : *\n```\n"
            "```esql\nFROM traces-apm*\n| WHERE labels.esql == \"c.value\" | SORT @timestamp | KEEP n\n```\n```sh\nd.sh : e\n```\n"
        )
        self.assertEqual([field for field, _ in fields.of_guide(guide, "x.md")], ["user.id", "labels.kql", "labels.esql", "@timestamp"])

    def test_a_misspelt_field_is_missing_in_documents(self):
        documents = [
            {name: 1 for name in fields.uses(OBJECTS) if name not in fields.ADDED_BY_ELASTICSEARCH},
            {"data_stream": {"dataset": "apm"}, "event": {"duration": 1}, "error": {"exception": [{"message": "x"}]}},
        ]
        self.assertEqual(fields.missing(fields.uses(OBJECTS), documents), {})
        objects = changed("dashboard", lambda one: columns(one, "users")["value"].update(sourceField="user.idd"))
        self.assertEqual(list(fields.missing(fields.uses(objects), documents)), ["user.idd"])

    def test_a_sample_of_a_metric_set_is_a_field(self):
        names = [name for name in fields.uses(OBJECTS) if name != "agent.events.dropped"]
        documents = [{name: 1 for name in names}, {"data_stream": {"dataset": "x"}, "event": {"duration": 1}, "error": {"log": {"message": "x"}}}]
        self.assertEqual(list(fields.missing(fields.uses(OBJECTS), documents)), ["agent.events.dropped"])
        documents.append({"metricset": {"samples": [{"name": "agent.events.dropped", "value": 1}]}})
        self.assertEqual(fields.missing(fields.uses(OBJECTS), documents), {})

    def test_a_field_that_elasticsearch_adds_needs_its_source(self):
        documents = [{name: 1 for name in fields.uses(OBJECTS)}]
        self.assertEqual(set(fields.missing(fields.uses(OBJECTS), documents)), set(fields.ADDED_BY_ELASTICSEARCH) & set(fields.uses(OBJECTS)))


if __name__ == "__main__":
    unittest.main()
