//! Where scenes come from besides folders on the disk.

pub mod major_tom;
