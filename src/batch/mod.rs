//! Many jobs of one plan into one store, by as many workers as there are: nothing finished is lost, done twice or mixed with
//! another plan, whoever is killed when.
//!
//! A plan (`plan`, `table`, `columns`) is rows whose columns are the options of `generate`. A store (`store`: `folder` or
//! `bucket`) keeps the plan, what it is made with (`pins`), and each job's files with a record. Workers (`run`) need no server
//! and no talk with each other: they find in the store what is left, and claim it. `perform` does one job, `fetching` gets the
//! open data that a row asks for; `status` counts, `collect` makes the catalogue (`items`: stac-geoparquet).

#[cfg(feature = "s3")]
mod bucket;
mod collect;
mod columns;
mod fetching;
mod folder;
mod items;
mod perform;
mod pins;
mod plan;
mod run;
mod status;
mod store;
mod table;

pub use collect::{Collected, collect};
pub use pins::Pins;
pub use plan::{Plan, PlanIdentity, Row};
pub use run::{BatchOptions, JobLine, Status, Summary, Told, run_batch};
pub use status::{Report, status};
pub use table::Region;
