//! What the user wants of each modality, with its history.

use crate::job::Keep;
use crate::modality::{ClassMap, Modality, ModalityTable, Subject};
use crate::sampler::Role;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Steps that can be undone.
const KEPT: usize = 100;

/// A role per modality, and values set by hand.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Choices {
    /// One role per modality of the model's table.
    pub roles: Vec<Role>,
    /// Values in place of those that were read, as typed, by modality: a place, a day, one class everywhere.
    pub typed: BTreeMap<usize, String>,
    /// Classes painted by hand in place of those that were read, by modality. A modality has one of both at most.
    pub painted: BTreeMap<usize, Arc<ClassMap>>,
    /// What is kept of modalities that are generated otherwise: these are partly given.
    pub keep: BTreeMap<usize, Keep>,
}

impl Choices {
    /// Text for a modality; empty stands for what was read.
    pub fn text(&self, modality: usize) -> &str {
        self.typed.get(&modality).map_or("", |text| text.trim())
    }

    /// Types a value for a modality, in place of what was painted.
    fn type_in(&mut self, modality: usize, text: String) {
        self.painted.remove(&modality);
        self.typed.insert(modality, text);
    }

    /// Takes a modality's value out of a file: a text, or classes painted by hand.
    pub(super) fn read_back(&mut self, modality: usize, text: &str) {
        match text.parse::<ClassMap>() {
            Ok(map) => _ = self.painted.insert(modality, Arc::new(map)),
            Err(_) => self.type_in(modality, text.to_owned()),
        }
    }

    /// All values set by hand as texts that [`read_back`](Self::read_back) takes.
    pub(super) fn written(&self) -> impl Iterator<Item = (usize, String)> {
        let typed = self.typed.iter().filter(|(_, text)| !text.trim().is_empty()).map(|(i, text)| (*i, text.clone()));
        typed.chain(self.painted.iter().map(|(i, map)| (*i, map.to_string())))
    }

    /// Whether a modality's value can be set by hand.
    pub fn can_be_set(m: &Modality) -> bool {
        m.is_scalar() || m.classes().is_some()
    }
}

/// The choices, and what they were before.
#[derive(Debug, Default)]
pub struct History {
    now: Choices,
    past: Vec<Choices>,
    future: Vec<Choices>,
    /// The modality that is being typed for: letters of one word are one step.
    typing: Option<usize>,
}

impl History {
    /// The choices.
    pub fn now(&self) -> &Choices {
        &self.now
    }

    /// Starts anew, as for another place.
    pub fn restart(&mut self, choices: Choices) {
        *self = Self { now: choices, ..Self::default() };
    }

    /// Gives a modality a role; nothing of it is kept then.
    pub fn role(&mut self, modality: usize, role: Role) {
        self.roles(&[modality], role);
    }

    /// Gives several modalities a role, as one step.
    pub fn roles(&mut self, modalities: &[usize], role: Role) {
        self.change(None, |choices| {
            for &i in modalities {
                if let Some(slot) = choices.roles.get_mut(i) {
                    *slot = role;
                    choices.keep.remove(&i);
                }
            }
        });
    }

    /// Keeps some of several modalities and generates the rest, as one step.
    pub fn keep(&mut self, modalities: &[usize], keep: &Keep) {
        self.change(None, |choices| {
            for &i in modalities {
                if let Some(slot) = choices.roles.get_mut(i) {
                    *slot = Role::Generated;
                    choices.keep.insert(i, keep.clone());
                }
            }
        });
    }

    /// Sets the text of a modality.
    pub fn typed(&mut self, modality: usize, text: String) {
        self.change(Some(modality), |choices| choices.type_in(modality, text));
    }

    /// Gives a modality and sets its text, as one step.
    pub fn set(&mut self, modality: usize, text: String) {
        self.change(None, |choices| {
            if let Some(role) = choices.roles.get_mut(modality) {
                *role = Role::Given;
                choices.type_in(modality, text);
            }
        });
    }

    /// Gives a modality and sets its classes; what follows before [`end_undo_step`](Self::end_undo_step) belongs to the same step.
    pub fn paint(&mut self, modality: usize, map: ClassMap) {
        self.change(Some(modality), |choices| {
            if let Some(role) = choices.roles.get_mut(modality) {
                *role = Role::Given;
                choices.typed.remove(&modality);
                choices.painted.insert(modality, Arc::new(map));
            }
        });
    }

    /// The same by a stroke over the mask; what follows before [`end_undo_step`](Self::end_undo_step) belongs to the same
    /// step.
    pub fn paint_kept(&mut self, modalities: &[usize], keep: &Keep) {
        self.change(modalities.first().copied(), |choices| {
            choices.keep.extend(modalities.iter().map(|i| (*i, keep.clone())));
        });
    }

    /// What is typed or painted next is another step.
    pub fn end_undo_step(&mut self) {
        self.typing = None;
    }

    /// Other choices altogether.
    pub fn replace(&mut self, with: Choices) {
        self.change(None, |choices| *choices = with);
    }

    fn change(&mut self, typing: Option<usize>, change: impl FnOnce(&mut Choices)) {
        let before = self.now.clone();
        change(&mut self.now);
        if self.now == before {
            return;
        }
        if typing.is_none() || typing != self.typing {
            self.past.push(before);
            let surplus = self.past.len().saturating_sub(KEPT);
            self.past.drain(..surplus);
        }
        self.typing = typing;
        self.future.clear();
    }

    /// Whether there is anything to undo.
    pub fn can_undo(&self) -> bool {
        !self.past.is_empty()
    }

    /// Whether there is anything to redo.
    pub fn can_redo(&self) -> bool {
        !self.future.is_empty()
    }

    /// Takes the last change back.
    pub fn undo(&mut self) {
        if let Some(before) = self.past.pop() {
            self.future.push(std::mem::replace(&mut self.now, before));
            self.typing = None;
        }
    }

    /// Makes it again.
    pub fn redo(&mut self) {
        if let Some(after) = self.future.pop() {
            self.past.push(std::mem::replace(&mut self.now, after));
            self.typing = None;
        }
    }
}

/// What makes sense at a place before the user has said anything: what changes slowly, radar, sky, place and date are
/// given where they are known, the rest is generated.
pub(crate) fn usual(table: &ModalityTable, known: &dyn Fn(usize) -> bool) -> Choices {
    const SLOW: [Subject; 6] =
        [Subject::Place, Subject::Date, Subject::Elevation, Subject::LandCover, Subject::Radar, Subject::Clouds];
    let slow = |i: usize| SLOW.contains(&table[i].about.subject);
    let role = |i: usize| if slow(i) && known(i) { Role::Given } else { Role::Generated };
    Choices { roles: (0..table.len()).map(role).collect(), ..Choices::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> History {
        let mut history = History::default();
        history.restart(Choices { roles: vec![Role::Generated; 3], ..Choices::default() });
        history
    }

    #[test]
    fn every_change_can_be_taken_back_and_made_again() {
        let mut history = started();
        let mut seen = vec![history.now().clone()];
        for (i, role) in [(0, Role::Given), (2, Role::Ignored), (0, Role::Ignored)] {
            history.role(i, role);
            seen.push(history.now().clone());
        }
        for expected in seen.iter().rev().skip(1) {
            history.undo();
            assert_eq!(history.now(), expected);
        }
        assert!(!history.can_undo());
        history.undo();
        for expected in &seen[1..] {
            history.redo();
            assert_eq!(history.now(), expected);
        }
        history.undo();
        history.role(1, Role::Given);
        assert!(!history.can_redo(), "another change makes another future");
    }

    #[test]
    fn one_word_is_one_step_and_no_change_is_none() {
        let mut history = started();
        history.role(0, Role::Generated);
        history.role(7, Role::Given);
        assert!(!history.can_undo());
        for text in ["2", "20", "2023"] {
            history.typed(1, text.into());
        }
        history.typed(2, "water".into());
        history.undo();
        assert_eq!(history.now().text(1), "2023");
        history.undo();
        assert_eq!(history.now(), started().now());
    }

    #[test]
    fn what_is_painted_takes_the_place_of_what_is_typed_and_the_other_way_round() {
        let mut history = started();
        history.set(1, "water".into());
        let map = ClassMap::constant((2, 3), 5);
        history.paint(1, map.clone());
        let now = history.now();
        assert_eq!((now.text(1), now.painted.get(&1).map(AsRef::as_ref)), ("", Some(&map)));
        // To a project and back.
        let mut back = Choices { roles: now.roles.clone(), ..Choices::default() };
        now.written().for_each(|(i, text)| back.read_back(i, &text));
        assert_eq!(&back, now);
        history.end_undo_step();
        history.typed(1, "trees".into());
        assert_eq!((history.now().text(1), history.now().painted.len()), ("trees", 0));
        history.undo();
        assert_eq!(history.now().painted.len(), 1);
    }

    #[test]
    fn only_so_many_steps_are_kept() {
        let mut history = started();
        for k in 0..3 * KEPT {
            history.role(k % 3, if k / 3 % 2 == 0 { Role::Given } else { Role::Ignored });
        }
        let mut steps = 0;
        while history.can_undo() {
            history.undo();
            steps += 1;
        }
        assert_eq!(steps, KEPT);
    }
}
