//! The pod. Pure.

use crate::{config::EnvVars, record::Kubernetes};

/// What the pod's manifest passes on in `KUBERNETES_*` wins over what was found; a pod is called as its host, without the domain.
pub(crate) fn kubernetes(environment: &EnvVars, pod_uid: Option<String>, hostname: Option<&str>) -> Kubernetes {
    let variable = |name| environment.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
    let pod_name = pod_uid.as_ref().and(hostname).and_then(|name| name.split('.').next()).map(str::to_owned);
    Kubernetes {
        namespace: variable("KUBERNETES_NAMESPACE"),
        node_name: variable("KUBERNETES_NODE_NAME"),
        pod_name: variable("KUBERNETES_POD_NAME").or(pod_name),
        pod_uid: variable("KUBERNETES_POD_UID").or(pod_uid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: metadata.md
    #[test]
    fn kubernetes_variables_take_precedence_over_detected_values() {
        let none = EnvVars::empty();
        assert_eq!(kubernetes(&none, None, Some("vm")), Kubernetes::default());
        let found = kubernetes(&none, Some("uid".to_owned()), Some("shop-7d9.shops.svc"));
        assert_eq!((found.pod_name.as_deref(), found.pod_uid.as_deref()), (Some("shop-7d9"), Some("uid")));
        let variables = [
            ("KUBERNETES_NAMESPACE", "shops"),
            ("KUBERNETES_NODE_NAME", "node1"),
            ("KUBERNETES_POD_NAME", "shop-1"),
            ("KUBERNETES_POD_UID", "other"),
        ];
        let told = kubernetes(&variables.into_iter().collect(), Some("uid".to_owned()), Some("shop-7d9"));
        assert_eq!((told.namespace.as_deref(), told.node_name.as_deref()), (Some("shops"), Some("node1")));
        assert_eq!((told.pod_name.as_deref(), told.pod_uid.as_deref()), (Some("shop-1"), Some("other")));
    }
}
