//! What APM is told of the marketplace. A binary of its own: the subscriber is the process's.

mod background;
mod chat;
mod events;
mod observed;
mod panics;
mod purchases;
mod requests;
mod secrets;
