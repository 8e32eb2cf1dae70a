//! What the window knows and what a person has chosen: no drawing, no threads.

pub mod choices;
pub mod find;
pub mod guide;
pub mod model;
pub mod models;
pub mod notes;
pub mod ongoing;
pub mod open_data;
pub mod place;
pub mod preferences;
pub mod project;
pub mod questions;
pub mod recent;
pub mod request;
pub mod runs;
pub mod session;
pub mod ticket;
pub mod tools;
