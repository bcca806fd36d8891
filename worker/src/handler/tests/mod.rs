//! The handlers' tests: rules one by one, and whole histories against a naive model.

mod database;
mod history;
mod rules;
