//! HTTP: accepts connections and hands requests to the Engine.IO endpoint, to REST or, on the internal listener, to operations.

pub mod accept;
pub mod listen;
pub mod log;
pub mod ops;
pub mod tls;
