//! Exchanges with servers, each on a thread of its own: they may take long, and none waits for another.

use crate::app::state::ongoing::Ongoing;
use crate::app::work::answers::Outbox;
use crate::error::Result;
use crate::net::Network;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Begins an exchange. It gets the way out, where it may tell how far it is, and the flag that asks it to end; `then` is
/// what to do with its result, as [`Outbox::aside`] does it.
pub(crate) fn begin<S: 'static, T: Send + 'static>(
    outbox: &Outbox<S>,
    network: &Network,
    exchange: impl FnOnce(&Network, &Outbox<S>, &Arc<AtomicBool>) -> Result<T> + Send + 'static,
    then: impl FnOnce(&mut S, Result<T>) + Send + 'static,
) -> Ongoing {
    let (network, tell, stop) = (network.clone(), outbox.clone(), Arc::new(AtomicBool::new(false)));
    let own = stop.clone();
    outbox.aside(move || exchange(&network, &tell, &own), then);
    Ongoing::new(stop)
}
