//! How `testerd sweep` asks the running daemon: one JSON line each way over a Unix socket in the
//! state directory. Its mode is that of its owner alone, and the kernel tells who asks: only the user
//! that runs the daemon, and root, are answered.

use std::fs::Permissions;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::runner::Hands;
use crate::spec::RecordId;
use crate::sweeper::Request;

/// How long either side waits: longer than any one undo.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long somebody may take to say what is wanted.
const SAYING: Duration = Duration::from_secs(5);

/// How many are served at once; more wait until one has gone.
const AT_ONCE: usize = 16;

/// How often the socket is looked for, and how long nothing is accepted after a failure.
const LOOK: Duration = Duration::from_secs(1);

/// A request is shorter.
const LONGEST_LINE: u64 = 4096;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Ask {
    /// Try a record now, as the sweeper would.
    Try(u64),
    /// Try it now because a person wants it, who answers for what must not be repeated.
    Retry(u64),
    /// Owe it no more.
    Forget(u64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    done: bool,
    text: String,
}

/// The socket, bound.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens in a state directory whose lock is held, so what lies there is left over.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn bind(folder: &Path) -> io::Result<Self> {
        let path = path(folder);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Passes what is asked on to the sweeper until stopped, for several at once.
    ///
    /// # Errors
    /// None today: what fails is tried again.
    pub async fn serve(
        mut self,
        sweeper: mpsc::Sender<Request>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let mut served = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = served.join_next() => {}
                accepted = self.listener.accept(), if served.len() < AT_ONCE => match accepted {
                    // Whoever asks and goes away, or asks nonsense, harms only himself.
                    Ok((stream, _)) => {
                        let sweeper = sweeper.clone();
                        let answered = async move { serve_one(stream, &sweeper).await };
                        served.spawn(timeout(PATIENCE, answered));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept on the control socket");
                        sleep(LOOK).await;
                    }
                },
                () = sleep(LOOK) => self.mend(),
            }
        }
        let _ = std::fs::remove_file(&self.path);
        Ok(())
    }

    /// Listens anew if somebody has removed the socket. One of another daemon is left alone.
    fn mend(&mut self) {
        let is_gone = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        if self.path.symlink_metadata().is_err_and(is_gone)
            && let Some(folder) = self.path.parent()
            && let Ok(again) = Self::bind(folder)
        {
            tracing::warn!(path = %self.path.display(), "the control socket was gone: it is made anew");
            *self = again;
        }
    }
}

async fn serve_one(stream: UnixStream, sweeper: &mpsc::Sender<Request>) -> io::Result<()> {
    let (caller, ours) = (stream.peer_cred()?.uid(), geteuid().as_raw());
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = tokio::io::BufReader::new(read.take(LONGEST_LINE));
    timeout(SAYING, read.read_line(&mut line)).await??;
    let result = if caller == 0 || caller == ours {
        pass_on(&line, sweeper).await?
    } else {
        Err(format!(
            "uid {caller} may not ask this; only uid {ours}, which runs the daemon, and root may"
        ))
    };
    let answer = match result {
        Ok(text) => Answer { done: true, text },
        Err(text) => Answer { done: false, text },
    };
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
}

/// Asks the sweeper, and waits for its answer.
async fn pass_on(
    line: &str,
    sweeper: &mpsc::Sender<Request>,
) -> io::Result<Result<String, String>> {
    let (answer, answered) = oneshot::channel();
    let request = match serde_json::from_str(line) {
        Ok(Ask::Try(id)) => Request::Retry(RecordId(id), Hands::Sweeper, answer),
        Ok(Ask::Retry(id)) => Request::Retry(RecordId(id), Hands::Person, answer),
        Ok(Ask::Forget(id)) => Request::Forget(RecordId(id), answer),
        Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    };
    let gone = || Err("the daemon is stopping".to_owned());
    Ok(match sweeper.send(request).await {
        Ok(()) => answered.await.unwrap_or_else(|_| gone()),
        Err(_) => gone(),
    })
}

/// Asks the daemon that has this state directory.
///
/// # Errors
/// If there is none, or it does not answer.
pub fn ask(folder: &Path, ask: Ask) -> io::Result<Result<String, String>> {
    let mut stream = BlockingStream::connect(path(folder))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(&ask)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text)?;
    if text.is_empty() {
        let what = format!("nothing in {PATIENCE:?}; it goes on trying");
        return Err(io::Error::new(io::ErrorKind::TimedOut, what));
    }
    let answer: Answer = serde_json::from_str(&text)?;
    Ok(if answer.done {
        Ok(answer.text)
    } else {
        Err(answer.text)
    })
}

fn path(folder: &Path) -> PathBuf {
    folder.join("control")
}
