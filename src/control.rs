//! How `testerd sweep` asks the running daemon: one JSON line each way over a Unix socket in the
//! state directory, which only those may open who may enter it.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::spec::RecordId;
use crate::sweeper::Request;

/// How long either side waits: longer than any one undo.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request is shorter.
const LONGEST_LINE: u64 = 4096;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Ask {
    /// Try a record now.
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
        Ok(Self { listener, path })
    }

    /// Passes what is asked on to the sweeper, one after another, until stopped.
    ///
    /// # Errors
    /// If listening fails for good.
    pub async fn serve(
        self,
        sweeper: mpsc::Sender<Request>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted?;
                    // Whoever asks and goes away, or asks nonsense, harms only himself.
                    let served = timeout(PATIENCE, serve_one(stream, &sweeper));
                    tokio::select! {
                        () = stop.cancelled() => break,
                        _ = served => {}
                    }
                }
            }
        }
        let _ = std::fs::remove_file(&self.path);
        Ok(())
    }
}

async fn serve_one(stream: UnixStream, sweeper: &mpsc::Sender<Request>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    tokio::io::BufReader::new(read.take(LONGEST_LINE))
        .read_line(&mut line)
        .await?;
    let (answer, answered) = oneshot::channel();
    let request = match serde_json::from_str(&line) {
        Ok(Ask::Retry(id)) => Request::Retry(RecordId(id), answer),
        Ok(Ask::Forget(id)) => Request::Forget(RecordId(id), answer),
        Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    };
    let gone = || Err("the daemon is stopping".to_owned());
    let result = match sweeper.send(request).await {
        Ok(()) => answered.await.unwrap_or_else(|_| gone()),
        Err(_) => gone(),
    };
    let answer = match result {
        Ok(text) => Answer { done: true, text },
        Err(text) => Answer { done: false, text },
    };
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
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
