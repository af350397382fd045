//! Which signals stop a process, and that none of them ends it by accident.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

/// Whether SIGHUP came.
static HANGUP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on SIGHUP does not end the process; it is remembered until somebody listens to it.
pub fn keep_hangups() {
    let kept = signal_hook::flag::register(SignalKind::hangup().as_raw_value(), HANGUP.clone());
    if let Err(error) = kept {
        crate::cli::complain(&format!("SIGHUP is not listened to yet: {error}"));
    }
}

/// From now on a file that would grow beyond its limit is an error of who writes it, and does not
/// end the process. Also standard output may be a file.
pub fn survive_file_limits() {
    let signal = rustix::process::Signal::XFSZ.as_raw();
    if let Err(error) = signal_hook::flag::register(signal, Arc::default()) {
        crate::cli::complain(&format!("SIGXFSZ would end testerd: {error}"));
    }
}

/// Whether SIGHUP came since it is kept, and before anybody listened.
pub(super) fn take_hangup() -> bool {
    HANGUP.swap(false, Ordering::Relaxed)
}

/// What asked for a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM: a service manager.
    Terminate,
    /// SIGINT: somebody at a terminal, who waits.
    Interrupt,
}

/// SIGTERM and SIGINT. SIGHUP must not end by accident what does not listen to it.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    pub(super) hangup: Option<Signal>,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: Some(signal(SignalKind::hangup())?),
        })
    }

    /// Waits for the next one that means to stop.
    pub(super) async fn next(&mut self) -> Asked {
        loop {
            let hangup = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.terminate.recv() => return Asked::Terminate,
                _ = self.interrupt.recv() => return Asked::Interrupt,
                _ = hangup => {
                    warn!("SIGHUP changes nothing: there is no configuration to read again");
                }
            }
        }
    }
}
