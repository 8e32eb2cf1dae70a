//! How long the window's own work takes, frame by frame.

use std::time::Duration;

/// No frame's own work should take longer: people feel the rest.
pub(crate) const LIMIT: Duration = Duration::from_millis(10);
/// As many frames are remembered.
const KEPT: usize = 20_000;

/// Times of frames: the first, which makes all letters; all further ones; and of these those while a run went on.
#[derive(Debug, Default)]
pub struct Frames {
    first: Option<Duration>,
    all: Vec<Duration>,
    sampling: Vec<Duration>,
}

impl Frames {
    /// Remembers a frame.
    pub fn add(&mut self, took: Duration, sampling: bool) {
        if self.first.is_none() {
            self.first = Some(took);
            return;
        }
        if cfg!(debug_assertions) && took > LIMIT {
            tracing::warn!("a frame took {took:?} of the window's own work");
        }
        for list in [Some(&mut self.all), sampling.then_some(&mut self.sampling)].into_iter().flatten() {
            if list.len() < KEPT {
                list.push(took);
            }
        }
    }

    /// All in words.
    pub fn summary(&self) -> String {
        let first = self.first.map_or(0.0, |took| took.as_secs_f64() * 1e3);
        let (all, sampling) = (words(&self.all), words(&self.sampling));
        format!("own work: first frame {first:.1} ms; then {all}; while sampling: {sampling}")
    }
}

fn words(frames: &[Duration]) -> String {
    let mut sorted = frames.to_vec();
    sorted.sort_unstable();
    let Some(longest) = sorted.last() else { return "no frames".into() };
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let (median, most, longest) = (at(0.5), at(0.99), longest.as_secs_f64() * 1e3);
    format!("{} frames, median {median:.1} ms, 99 % within {most:.1} ms, longest {longest:.1} ms", sorted.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_summed_up() {
        let mut frames = Frames::default();
        assert!(frames.summary().contains("no frames"));
        frames.add(Duration::from_millis(500), false);
        (1..=100).for_each(|ms| frames.add(Duration::from_millis(ms), ms == 7));
        let text = frames.summary();
        assert!(text.contains("100 frames, median 50.0 ms, 99 % within 99.0 ms, longest 100.0 ms"), "{text}");
        assert!(text.contains("first frame 500.0 ms"), "{text}");
        assert!(text.contains("sampling: 1 frames, median 7.0 ms"), "{text}");
    }
}
