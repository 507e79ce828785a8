//! Where the service runs, as far as it can be found out: its container, its pod and its cloud (agent-spec 11).

mod cloud;
mod container;
mod kubernetes;

#[cfg(test)]
pub(crate) use self::cloud::Bases;
pub(crate) use self::{
    cloud::{CloudMetadata, app_service},
    container::Container,
    kubernetes::kubernetes,
};
