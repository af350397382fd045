//! `backendai.execute`: a piece of code runs in a session and prints what it should, by REST or by
//! WebSocket. What comes in pieces is put together.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::api::{Api, encoded};
use super::deed::Deed;
use super::thing::open;
use crate::action::kind::{INTEGER, Kind, TEXT};
use crate::action::{Key, excerpt};
use crate::client::{Request, Upgrade, WebSocket, WebSocketMessage};
use crate::outcome::{Failure, Reason};
use crate::spec::Capture;
use crate::text::json as text_json;

/// How much output is kept.
const MOST_OUTPUT: usize = 1 << 20;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    session: String,
    code: String,
    via: Via,
    exit_code: i64,
    stdout: Option<String>,
    stderr: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Via {
    #[default]
    Rest,
    WebSocket,
}

const VIA: Kind = Kind::new("`\"rest\"` or `\"websocket\"`", "'rest'", "'mail'");

/// What specs do with it.
pub(super) struct Execute;

impl Deed for Execute {
    const NAME: &'static str = "backendai.execute";
    const KEYS: &'static [Key] = &[
        Key::required(
            "session",
            TEXT,
            "the session's id, such as \"${session.id}\"",
        ),
        Key::required("code", TEXT, "what to run"),
        Key::optional("via", VIA, "how it is asked for").default("`\"rest\"`"),
        Key::optional("exit_code", INTEGER, "with what it must end").default("0"),
        Key::optional("stdout", TEXT, "exactly what it must print"),
        Key::optional("stderr", TEXT, "what must stand in its standard error"),
    ];
    const WRITES: &'static [&'static str] = &["stdout", "stderr", "exit_code"];
    type Order = Order;

    async fn perform(order: &Order, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        let output = match order.via {
            Via::Rest => by_rest(order, api).await?,
            Via::WebSocket => by_websocket(order, api).await?,
        };
        output.check(order)?;
        Ok(vec![
            open("stdout", output.stdout),
            open("stderr", output.stderr),
            open("exit_code", output.exit_code),
        ])
    }
}

/// What a piece of code has printed so far.
#[derive(Debug, Default)]
struct Output {
    stdout: String,
    stderr: String,
    exit_code: Option<i64>,
}

impl Output {
    /// Takes in one answer; whether it was the last.
    fn take(&mut self, answer: &Value) -> Result<bool, Failure> {
        for item in answer["console"].as_array().into_iter().flatten() {
            let text = item[1].as_str().unwrap_or_default();
            match item[0].as_str() {
                Some("stdout") => self.stdout.push_str(text),
                Some("stderr") => self.stderr.push_str(text),
                // Pictures and other rich output are nothing that anybody looks at here.
                _ => {}
            }
        }
        if self.stdout.len() + self.stderr.len() > MOST_OUTPUT {
            let what = format!("the code printed more than {MOST_OUTPUT} bytes");
            return Err(Failure::new(Reason::Assertion, what));
        }
        match answer["status"].as_str() {
            Some("finished") => {
                self.exit_code = answer["exitCode"].as_i64();
                Ok(true)
            }
            Some("continued" | "build-finished" | "clean-finished") => Ok(false),
            Some("exec-timeout") => {
                let what = "the cluster gave up waiting for the code (exec-timeout)";
                Err(Failure::new(Reason::Timeout, what))
            }
            Some("waiting-input") => {
                let what = "the code waits for input that it gets from nobody";
                Err(Failure::new(Reason::Assertion, what))
            }
            Some(status) => {
                let message = excerpt(answer["msg"].as_str().unwrap_or_default());
                let what = format!("the execution is answered `{status}`: {message}");
                Err(Failure::new(Reason::Assertion, what))
            }
            None => {
                let what = "the answer to an execution has no status";
                Err(Failure::new(Reason::Protocol, what))
            }
        }
    }

    fn check(&self, order: &Order) -> Result<(), Failure> {
        let wrong = |what: String| Err(Failure::new(Reason::Assertion, what));
        if self.exit_code != Some(order.exit_code) {
            let code = self
                .exit_code
                .map_or("none".to_owned(), |code| code.to_string());
            return wrong(format!(
                "the exit code is {code}, expected {}; standard error: {}",
                order.exit_code,
                excerpt(&self.stderr)
            ));
        }
        if let Some(expected) = &order.stdout
            && self.stdout != *expected
        {
            let (stdout, expected) = (excerpt(&self.stdout), excerpt(expected));
            return wrong(format!(
                "the code printed `{stdout}`, expected `{expected}`"
            ));
        }
        if let Some(expected) = &order.stderr
            && !self.stderr.contains(expected.as_str())
        {
            let (stderr, expected) = (excerpt(&self.stderr), excerpt(expected));
            return wrong(format!(
                "standard error is `{stderr}`, expected `{expected}` in it"
            ));
        }
        if order.exit_code != 0 && self.stderr.is_empty() {
            return wrong("the code failed and wrote nothing to standard error".to_owned());
        }
        Ok(())
    }
}

async fn by_rest(order: &Order, api: &mut Api<'_, '_>) -> Result<Output, Failure> {
    let path = format!("/session/{}", encoded(&order.session));
    // The manager before 26.3 reads `runId`, the later ones `run_id`.
    let run = Uuid::new_v4().simple().to_string();
    let mut output = Output::default();
    let mut mode = "query";
    loop {
        let code = if mode == "query" {
            order.code.as_str()
        } else {
            ""
        };
        let body = json!({ "mode": mode, "code": code, "run_id": run, "runId": run });
        let answer = api.change(Method::POST, &path, &body).await?;
        if output.take(&answer["result"])? {
            return Ok(output);
        }
        mode = "continue";
    }
}

async fn by_websocket(order: &Order, api: &mut Api<'_, '_>) -> Result<Output, Failure> {
    let path = format!("/stream/session/{}/execute", encoded(&order.session));
    let mut socket = match api
        .context
        .upgrade(&api.context.home(), Request::new(Method::GET, path))
        .await?
    {
        Upgrade::Open(socket) => socket,
        Upgrade::Answered(answer) => {
            let what = format!("the WebSocket is refused with {}", answer.status);
            return Err(Failure::new(api.context.reason(&answer), what));
        }
    };
    let code = json!({ "mode": "query", "code": order.code, "options": {} });
    socket.send(code.to_string()).await?;
    let output = listen(&mut socket).await?;
    socket.close().await;
    Ok(output)
}

async fn listen(socket: &mut WebSocket) -> Result<Output, Failure> {
    let mut output = Output::default();
    loop {
        let message = socket.receive().await?;
        let text = match message {
            WebSocketMessage::Text(text) => text,
            WebSocketMessage::Binary(_) => continue,
            WebSocketMessage::Closed { code, reason } => {
                let code = code.map_or("no code".to_owned(), |code| code.to_string());
                let what = format!("the WebSocket was closed ({code} {reason}) before the end");
                return Err(Failure::new(Reason::Protocol, what));
            }
        };
        let answer = text_json::parse(text.as_bytes()).map_err(|error| {
            let what = format!("a message of the execution is not JSON: {error}");
            Failure::new(Reason::Protocol, what)
        })?;
        if output.take(&answer)? {
            return Ok(output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(answers: &[Value]) -> Result<Output, Failure> {
        let mut output = Output::default();
        for (place, answer) in answers.iter().enumerate() {
            assert_eq!(output.take(answer)?, place + 1 == answers.len());
        }
        Ok(output)
    }

    #[test]
    fn pieces_are_put_together() {
        let pieces = [
            json!({ "status": "continued", "console": [["stdout", "Hello, "]] }),
            json!({ "status": "continued", "console": [["stderr", "hm"], ["html", "<b>"]] }),
            json!({ "status": "finished", "exitCode": 0, "console": [["stdout", "world!\n"]] }),
        ];
        let output = output(&pieces).unwrap();
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            ("Hello, world!\n", "hm")
        );
        let mut order = Order {
            stdout: Some("Hello, world!\n".into()),
            ..Order::default()
        };
        assert!(output.check(&order).is_ok());
        order.exit_code = 1;
        assert!(output.check(&order).is_err());
    }

    #[test]
    fn what_is_no_end_is_told() {
        for (status, reason) in [
            ("exec-timeout", Reason::Timeout),
            ("waiting-input", Reason::Assertion),
            ("error", Reason::Assertion),
        ] {
            let failure = output(&[json!({ "status": status })]).unwrap_err();
            assert_eq!(failure.fault, reason.into());
        }
    }
}
