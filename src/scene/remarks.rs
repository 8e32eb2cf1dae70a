//! What reading many windows of many scenes found out, told once per scene.

use super::Observation;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// What was told so far.
#[derive(Debug, Default)]
pub struct Remarks {
    told: Mutex<BTreeSet<(String, String)>>,
}

impl Remarks {
    /// Logs the notes about a window of a scene. Windows of one scene differ in their figures: what else reads alike is told
    /// of the first of them alone.
    pub fn tell(&self, scene: &str, observation: &Observation) {
        for note in self.fresh(scene, &observation.notes) {
            tracing::warn!("{scene}: {note}");
        }
    }

    /// The notes that were not told of this scene before.
    fn fresh<'a>(&self, scene: &str, notes: &'a [String]) -> Vec<&'a str> {
        // A thread that panicked while it told something left nothing that could be wrong.
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let alike = |note: &str| note.chars().filter(|c| !c.is_ascii_digit() && !"-.".contains(*c)).collect::<String>();
        let is_fresh = |note: &&String| told.insert((scene.to_owned(), alike(note)));
        notes.iter().filter(is_fresh).map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_is_told_once_of_each_scene_whatever_its_figures() {
        let remarks = Remarks::default();
        let notes = |share: &str| vec![format!("DEM.tif: {share} % of the window is void."), "Another.".to_owned()];
        assert_eq!(remarks.fresh("a", &notes("12")), notes("12"));
        assert!(remarks.fresh("a", &notes("-7.5")).is_empty());
        assert_eq!(remarks.fresh("b", &notes("3")), notes("3"));
        assert_eq!(remarks.fresh("a", &["A third.".to_owned()]), ["A third."]);
    }
}
