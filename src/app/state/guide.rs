//! The steps of the short path from the first place to a first result.

use crate::app::state::session::Session;

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuideStep {
    /// Look around.
    Look,
    /// Ask.
    Ask,
    /// Sample.
    Generate,
    /// Wait.
    Wait,
    /// See where realisations differ.
    Compare,
}

impl GuideStep {
    /// The step that fits what has happened since.
    pub fn now(self, session: &Session) -> Self {
        match self {
            Self::Generate if session.busy() => Self::Wait,
            Self::Wait if !session.busy() && session.run().is_some_and(|run| !run.realisations.is_empty()) => {
                Self::Compare
            }
            Self::Wait if !session.busy() => Self::Generate,
            other => other,
        }
    }

    /// Title and text of the card.
    pub fn text(self) -> [&'static str; 2] {
        match self {
            Self::Look => [
                "A place, as satellites saw it",
                "The list at the left holds all that is known here: radar, elevation, land cover, optical bands. What is green \
                 is given to the model; what is orange it has to make up.",
            ],
            Self::Ask => [
                "A question",
                "What does the ground look like under a clear sky, as radar, elevation and land cover tell? There are more under \
                 Questions.",
            ],
            Self::Generate => [
                "Many answers",
                "The link between sensors is one-to-many, so the model draws several plausible answers. It takes seconds.",
            ],
            Self::Wait => ["Sampling", "Each realisation starts from its own noise and becomes clearer step by step."],
            Self::Compare => [
                "Where they disagree",
                "Click realisations below, or press the arrow keys; B shows what was observed. Variance shows where the \
                 realisations differ. They are synthetic, and this model is a small demonstration.",
            ],
        }
    }
}
