//! What whoever runs a deployment asks the program beside running it: one file per command. Nothing here serves anybody.

pub mod config;
pub mod healthcheck;
