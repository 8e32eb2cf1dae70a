//! What the window knows and what a person has chosen: no drawing, no threads.

pub(super) mod choices;
pub(super) mod find;
pub(super) mod guide;
pub(super) mod keeping;
pub(super) mod model;
pub(super) mod models;
pub(super) mod notes;
pub(super) mod ongoing;
pub(super) mod open_data;
pub(super) mod place;
pub(super) mod preferences;
pub(super) mod project;
pub(super) mod questions;
pub(super) mod recent;
pub(super) mod reference;
pub(super) mod request;
pub(super) mod runs;
pub(super) mod session;
pub(super) mod ticket;
pub(super) mod tools;
