//! Models from elsewhere: which there are, where their files lie, and their way into the user's model folders.
//!
//! `catalogue → ask the server → download → check → convert → manifest`. What is interrupted at any moment goes on where
//! it stopped; a folder has a manifest only once everything it names is there.

mod catalog;
mod fetch;
mod folder;
mod install;
mod library;
mod maintenance;
mod repository;
mod request;

pub use catalog::{Catalogue, Entry, Part};
pub use fetch::Progress;
pub use install::{Source, import_files, install};
pub use library::{Library, Listed, ListedPart, State, model_folder};
pub use maintenance::{Checked, remove, verify};
pub use repository::Hub;
pub use request::InstallRequest;
