//! What a family has to be to be of use.

use super::{Family, GroupEntry, LookEntry, ValueForm};
use std::collections::BTreeSet;

impl Family {
    /// Whether models that rely on another description of this family can rely on this one.
    pub(super) fn keeps(&self, other: &Self) -> bool {
        let same = |a: &&GroupEntry| {
            self.groups.iter().any(|b| (&a.name, &a.channels, a.ground_m) == (&b.name, &b.channels, b.ground_m))
        };
        let means = |f: &Self| (f.form, f.subject, f.decibel, f.per_unit.to_bits());
        means(self) == means(other) && self.legend == other.legend && other.groups.iter().all(|group| same(&group))
    }

    /// # Errors
    /// What is wrong with it, as the rest of a sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.name.trim().is_empty() {
            return Err("has no name".into());
        }
        if !plain(&self.name) {
            return Err("needs a name of letters, digits, - and _".into());
        }
        if self.form == ValueForm::Picture {
            return Err("cannot be a picture: every family can be looked at as one".into());
        }
        if self.groups.is_empty() {
            return Err("has no groups, so nothing of it can be read".into());
        }
        if !(self.per_unit.is_finite() && self.per_unit > 0.0) {
            return Err("has a per_unit that is not a positive number".into());
        }
        let mut ranges = self.bands.iter().map(|band| band.valid).chain([self.valid]).flatten();
        if ranges.any(|[low, high]| !rises(low, high)) {
            return Err("has a valid range that does not go from a smaller to a greater number".into());
        }
        if (self.form == ValueForm::Class) == self.legend.is_empty() {
            return Err("needs a legend if it is of classes, and none otherwise".into());
        }
        let mut codes = BTreeSet::new();
        if let Some(class) = self.legend.iter().find(|class| !codes.insert(class.code)) {
            return Err(format!("has the class code {} twice", class.code));
        }
        for group in &self.groups {
            let within = |what: &str| Err(format!("has a group \"{}\" {what}", group.name));
            let mut seen = BTreeSet::new();
            if !plain(&group.name) || !group.files.iter().all(|stem| plain(stem)) {
                return within("whose name or files are not of letters, digits, - and _");
            }
            if group.channels.is_empty() || group.channels.len() > 4096 {
                return within("without channels, or with more than 4096");
            }
            if let Some(twice) = group.channels.iter().find(|name| !seen.insert(name.to_lowercase())) {
                return within(&format!("with the channel {twice} twice"));
            }
            if self.form == ValueForm::Class && group.channels.len() > 1 {
                return within("of classes with several channels");
            }
            if self.is_raster() && !(group.ground_m.is_finite() && group.ground_m > 0.0) {
                return within("without a pixel size (ground_m)");
            }
        }
        let known = |band: &String| {
            self.groups.iter().any(|group| group.channels.iter().any(|own| own.eq_ignore_ascii_case(band)))
        };
        let mut looked =
            self.looks.iter().flat_map(|look| &look.bands).chain(self.indices.iter().flat_map(|i| &i.bands));
        if let Some(odd) = looked.find(|band| !known(band)) {
            return Err(format!("looks at the band {odd}, which no group of it has"));
        }
        let together = |bands: &[String; 2]| {
            let holds = |group: &GroupEntry, band: &String| group.channels.iter().any(|c| c.eq_ignore_ascii_case(band));
            self.groups.iter().any(|group| bands.iter().all(|band| holds(group, band)))
        };
        if let Some(index) = self.indices.iter().find(|index| !together(&index.bands)) {
            let [a, b] = &index.bands;
            return Err(format!(
                "has an index {} of {a} and {b}, which no group holds together: an index is taken on one grid",
                index.name
            ));
        }
        if let Some(index) = self.indices.iter().find(|index| !rises(index.range[0], index.range[1])) {
            return Err(format!("has an index {} whose range does not go from low to high", index.name));
        }
        self.looks.iter().try_for_each(LookEntry::check)
    }
}

/// Whether a range goes from a smaller to a greater number.
pub(super) fn rises<T: PartialOrd>(low: T, high: T) -> bool {
    low < high
}

/// Names become names of files.
fn plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}
