//! Which sessions may be created, and the session that comes of a request. Waiting for it is up to
//! `calls`.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Kernel, Kind, Mount, Session, Status};
use crate::demo::backendai::accounts::PROJECT;
use crate::demo::backendai::gate::{Caller, Sent, missing};
use crate::demo::backendai::hall::{Id, State, dashed, is_id};
use crate::demo::backendai::refusal::{Refusal, internal, invalid, no_object, schema};
use crate::demo::backendai::{ARCHITECTURE, IMAGE, SCALING_GROUP};

/// What all agents together have.
pub(super) const CPUS: u32 = 64;
/// Of a key pair's policy.
pub(in crate::demo::backendai) const MOST_KERNELS: u64 = 4;
/// Shared memory is added to what the image needs at least.
const SHARED_MEMORY: u64 = 64 << 20;
pub(in crate::demo::backendai) const LEAST_MEMORY: u64 = 64 << 20;
/// So many sessions are remembered; those that ended first are forgotten first.
const KEPT: usize = 2000;

/// What a request to create a session comes to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::demo::backendai) enum Created {
    New(Id),
    /// There is one of this name, and it may be taken instead.
    Known(Id),
}

impl State {
    /// Puts a session into the queue, if everything about it is right.
    pub(in crate::demo::backendai) fn create_session(
        &mut self,
        caller: &Caller,
        sent: &Sent,
    ) -> Result<Created, Refusal> {
        let name = sent.text(&["session_name", "name", "clientSessionToken"])?;
        let image = sent.text(&["image", "lang"])?;
        let kind = kind(sent)?;
        let project = sent
            .maybe(&["group", "groupName", "group_name"])
            .unwrap_or(PROJECT);
        let project = self.accounts.joined(&caller.user, project)?.id.clone();
        if let Some(known) = self.live_session(&caller.user, name) {
            let id = known.id.clone();
            if sent.flag(&["reuse", "reuseIfExists"], true) {
                return Ok(Created::Known(id));
            }
            return Err(name_taken().with(json!({ "existingSessionId": id })));
        }
        let command = sent
            .maybe(&["startup_command", "startupCommand"])
            .unwrap_or_default();
        if kind == Kind::Batch && command.is_empty() {
            return Err(invalid(
                "Batch sessions must have a non-empty startup command.",
            ));
        }
        let size = sent.number(&["cluster_size", "clusterSize"]).unwrap_or(1);
        if size > MOST_KERNELS {
            return Err(too_many(size));
        }
        find_image(image, sent.maybe(&["architecture", "arch"]))?;
        let config = Sent(sent.any(&["config"]).cloned().unwrap_or_default());
        let (cpu, memory) = resources(&config)?;
        let depends_on = self.dependencies(sent)?;
        let mounts = self.mounts(caller, &config)?;
        let kernels = (0..usize::try_from(size.max(1)).unwrap_or(1))
            .map(|index| Kernel {
                id: self.new_id(),
                index,
            })
            .collect();
        self.forget_sessions();
        let session = Session {
            id: self.new_id(),
            name: name.to_owned(),
            owner: caller.clone(),
            project,
            kind,
            image: image.to_owned(),
            cluster_mode: sent
                .maybe(&["cluster_mode", "clusterMode"])
                .unwrap_or("single-node")
                .to_owned(),
            kernels,
            cpu,
            memory,
            environ: environ(&config),
            mounts,
            command: command.to_owned(),
            batch_timeout: sent
                .any(&["batch_timeout", "batchTimeout"])
                .and_then(duration),
            bootstrap: sent
                .maybe(&["bootstrap_script", "bootstrapScript"])
                .unwrap_or_default()
                .to_owned(),
            depends_on,
            info: None,
            result: "UNDEFINED",
            history: vec![(Status::Pending, self.now)],
            queries: std::collections::BTreeMap::new(),
        };
        Ok(Created::New(self.enqueue(session)))
    }

    /// The caller's session of this name that has not ended.
    pub(in crate::demo::backendai) fn live_session(
        &self,
        user: &Id,
        name: &str,
    ) -> Option<&Session> {
        let mut all = self.sessions.values();
        all.find(|found| {
            found.name == name && found.owner.user == *user && !found.status().is_over()
        })
    }

    fn forget_sessions(&mut self) {
        while self.sessions.len() >= KEPT {
            let ended = self
                .sessions
                .values()
                .filter(|session| session.status().is_over());
            let Some(oldest) = ended.min_by_key(|session| session.since()) else {
                break;
            };
            let oldest = oldest.id.clone();
            self.sessions.remove(&oldest);
        }
    }

    fn dependencies(&self, sent: &Sent) -> Result<Vec<Id>, Refusal> {
        let named = sent.texts(&["dependencies"]);
        let one = |text: &String| {
            // The real one does not expect a name here.
            let id = is_id(text).then(|| dashed(text)).ok_or_else(internal)?;
            let unknown = || {
                invalid("Unknown session ID in the dependency list")
                    .with(json!({ "session_ref": text }))
            };
            self.sessions.get(&id).map(|_| id).ok_or_else(unknown)
        };
        named.iter().map(one).collect()
    }

    fn mounts(&self, caller: &Caller, config: &Sent) -> Result<Vec<Mount>, Refusal> {
        let by_name = config.texts(&["mounts"]);
        let by_id = config.texts(&["mount_ids"]);
        let paths = [&config.0["mount_map"], &config.0["mount_id_map"]];
        let mut mounts = Vec::new();
        for asked in by_name.iter().chain(&by_id) {
            let folder = self.mountable(caller, asked)?;
            let path = paths.iter().find_map(|map| map[asked.as_str()].as_str());
            mounts.push(Mount {
                folder: folder.id.clone(),
                name: folder.name.clone(),
                path: path.map_or_else(|| format!("/home/work/{}", folder.name), str::to_owned),
            });
        }
        Ok(mounts)
    }
}

pub(super) fn name_taken() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "session-already-exists",
        "The session already exists but you requested not to reuse existing one.",
        "session_create_already-exists",
    )
}

fn too_many(kernels: u64) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "quota-exceeded",
        "You have reached your resource limit.",
        "session_create_unavailable",
    )
    .said(format!(
        "Session requests {kernels} kernels, exceeding the keypair limit of {MOST_KERNELS} containers per session."
    ))
}

fn kind(sent: &Sent) -> Result<Kind, Refusal> {
    match sent.maybe(&["type", "session_type", "sessionType"]) {
        None | Some("interactive") => Ok(Kind::Interactive),
        Some("batch") => Ok(Kind::Batch),
        Some("inference") => Ok(Kind::Inference),
        Some(_) => Err(schema(
            "type",
            "Input should be 'interactive', 'batch', 'inference' or 'system'",
        )),
    }
}

/// There is one image, for one architecture.
pub(in crate::demo::backendai) fn find_image(
    name: &str,
    architecture: Option<&str>,
) -> Result<(), Refusal> {
    let architecture = architecture.unwrap_or(ARCHITECTURE);
    if name == IMAGE && architecture == ARCHITECTURE {
        return Ok(());
    }
    Err(
        no_object("No such environment image.", "image_read_not-found")
            .said(format!("Unknown image reference: {name} ({architecture})")),
    )
}

fn resources(config: &Sent) -> Result<(f64, u64), Refusal> {
    if let Some(group) = config
        .maybe(&["scaling_group", "scalingGroup"])
        .filter(|name| *name != SCALING_GROUP)
    {
        return Err(
            no_object("No such resource group.", "resource-group_read_not-found").said(group),
        );
    }
    let asked = Sent(config.any(&["resources"]).cloned().unwrap_or_default());
    let text = |key: &str| match asked.any(&[key]) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(number @ Value::Number(_)) => Some(number.to_string()),
        _ => None,
    };
    let cpu = text("cpu").unwrap_or_else(|| "1".into());
    let cpu = cpu.parse().map_err(|_| missing(&["cpu"]))?;
    let memory = text("mem").map_or(Some(1 << 30), |text| bytes(&text));
    let memory = memory.ok_or_else(|| missing(&["mem"]))?;
    if memory < LEAST_MEMORY + SHARED_MEMORY {
        return Err(invalid(
            "kernel_specs[0] resource request is smaller than the image minimum (cpu=1 mem=128m).",
        ));
    }
    Ok((cpu, memory))
}

/// `512m` → bytes.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_lowercase();
    let unit = lower.find(|letter: char| letter.is_alphabetic());
    let (number, unit) = lower.split_at(unit.unwrap_or(lower.len()));
    let shift = match unit.trim_end_matches(['b', 'i']) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_shl(shift)
}

/// A number of seconds, or a text such as `5m`.
fn duration(value: &Value) -> Option<Duration> {
    match value {
        Value::String(text) => {
            let seconds = text.parse().ok().map(Duration::from_secs_f64);
            seconds.or_else(|| humantime::parse_duration(text).ok())
        }
        number => number.as_f64().map(Duration::from_secs_f64),
    }
}

fn environ(config: &Sent) -> std::collections::BTreeMap<String, String> {
    let given = config.any(&["environ"]).and_then(Value::as_object);
    let all = given.into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}
