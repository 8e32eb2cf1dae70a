//! The window: panels read the session and push commands; work in the background answers with what is to be done.

mod command;
mod dialogs;
#[cfg(test)]
mod direction;
mod kit;
mod map;
mod panels;
mod state;
mod view;
mod window;
mod work;

pub use command::Command;
pub use dialogs::open_data::DataForm;
pub use kit::frames::Frames;
pub use map::map_view::MapView;
pub use state::choices::{Choices, History};
pub use state::guide::GuideStep;
pub use state::models::{Models, Outcome};
pub use state::open_data::Site;
pub use state::place::Selection;
pub use state::questions::Question;
pub use state::runs::{Run, RunState, Runs};
pub use state::session::Session;
pub use state::tools::{Brush, Stroked, Tool};
pub use view::shown::{Base, Shown, Sort};
pub use window::explorer::ExplorerWindow;
pub use window::launch::{open, open_on_tour};
pub use window::options::Options;
pub use window::tour::{Tour, Trip};
