//! The first line of every stream.

use super::{
    schema::{KEYWORD, Object, Shape::*, fields, optional, required},
    shared::{NODE, PRODUCT, USER},
};

static AGENT: Object = fields(&[
    required("name", NonEmpty),
    required("version", KEYWORD),
    optional("ephemeral_id", KEYWORD),
    optional("activation_method", KEYWORD),
]);
static LANGUAGE: Object = fields(&[required("name", KEYWORD), optional("version", KEYWORD)]);
static RUNTIME: Object = fields(&[required("name", KEYWORD), required("version", KEYWORD)]);
static SERVICE: Object = fields(&[
    required("name", ServiceName { non_empty: true }),
    required("agent", Object(&AGENT)),
    optional("version", KEYWORD),
    optional("environment", KEYWORD),
    optional("id", Text),
    optional("language", Object(&LANGUAGE)),
    optional("runtime", Object(&RUNTIME)),
    optional("framework", Object(&PRODUCT)),
    optional("node", Object(&NODE)),
]);

static NAMED: Object = fields(&[optional("name", KEYWORD)]);
static IDENTIFIED: Object = fields(&[optional("id", KEYWORD), optional("name", KEYWORD)]);
static MACHINE: Object = fields(&[optional("type", KEYWORD)]);
static CLOUD: Object = fields(&[
    required("provider", KEYWORD),
    optional("region", KEYWORD),
    optional("availability_zone", KEYWORD),
    optional("account", Object(&IDENTIFIED)),
    optional("instance", Object(&IDENTIFIED)),
    optional("project", Object(&IDENTIFIED)),
    optional("machine", Object(&MACHINE)),
    optional("service", Object(&NAMED)),
]);

static CONTAINER: Object = fields(&[optional("id", KEYWORD)]);
static POD: Object = fields(&[optional("name", KEYWORD), optional("uid", KEYWORD)]);
static KUBERNETES: Object =
    fields(&[optional("namespace", KEYWORD), optional("node", Object(&NAMED)), optional("pod", Object(&POD))]);
static SYSTEM: Object = fields(&[
    optional("detected_hostname", KEYWORD),
    optional("configured_hostname", KEYWORD),
    optional("hostname", KEYWORD),
    optional("architecture", KEYWORD),
    optional("platform", KEYWORD),
    optional("host_id", KEYWORD),
    optional("container", Object(&CONTAINER)),
    optional("kubernetes", Object(&KUBERNETES)),
]);

static PROCESS: Object =
    fields(&[required("pid", Int), optional("ppid", Int), optional("title", KEYWORD), optional("argv", Texts)]);

static CONNECTION: Object = fields(&[optional("type", KEYWORD)]);
static NETWORK: Object = fields(&[optional("connection", Object(&CONNECTION))]);

pub(super) static METADATA: Object = fields(&[
    required("service", Object(&SERVICE)),
    optional("process", Object(&PROCESS)),
    optional("system", Object(&SYSTEM)),
    optional("cloud", Object(&CLOUD)),
    optional("user", Object(&USER)),
    optional("network", Object(&NETWORK)),
    optional("labels", Labels),
]);
