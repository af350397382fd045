//! Model services: so many replicas, each a session of its own, behind one address. That address
//! is on this server too, and tells its health.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State as Here};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::books::Change;
use super::gate::{Caller, Sent, missing};
use super::hall::{Hall, Id, State, dashed, is_id};
use super::refusal::{Refusal, internal, no_object, schema};
use super::session::{Created, Kind, Session, Status};
use super::{MOST_REPLICAS, SCALING_GROUP, told};

type Hallway = Here<Arc<Hall>>;
type Answer = Result<Response, Refusal>;

/// So many services are remembered.
const KEPT: usize = 500;

/// One session behind a service.
#[derive(Debug, Clone)]
pub(super) struct Replica {
    route: Id,
    session: Id,
}

#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) owner: Caller,
    pub(super) project: Id,
    pub(super) model: Id,
    pub(super) is_public: bool,
    pub(super) wanted: u64,
    pub(super) destroying: bool,
    pub(super) created: Duration,
    runtime: String,
    definition: String,
    /// What each replica is created from.
    session: Sent,
    replicas: Vec<Replica>,
    tokens: Vec<String>,
    /// How the maker calls this server.
    host: String,
}

pub(super) fn routes() -> Router<Arc<Hall>> {
    Router::new()
        .route("/services", get(list).post(create))
        .route("/services/{id}", get(info).delete(remove))
        .route("/services/{id}/scale", post(scale))
        .route("/services/{id}/token", post(token))
        .route("/services/{id}/sync", post(sync))
        .route("/services/{id}/errors", get(errors))
        .route("/scaling-groups", get(scaling_groups))
        .route("/scaling-groups/{name}/wsproxy-version", get(proxy_version))
}

/// What the replicas answer, by way of the app proxy.
pub(super) fn proxied_routes() -> Router<Arc<Hall>> {
    Router::new().route("/apps/{id}/health", get(health))
}

fn no_service() -> Refusal {
    no_object("No such model service.", "deployment_read_not-found")
}

impl State {
    pub(super) fn service(&self, caller: &Caller, id: &str) -> Result<&Service, Refusal> {
        let found = self.services.get(&dashed(id));
        let seen = found.filter(|found| caller.is_superadmin() || found.owner.user == caller.user);
        seen.ok_or_else(no_service)
    }

    /// Whether nothing of a service is left.
    pub(super) fn is_destroyed(&self, service: &Service) -> bool {
        let is_over = |replica: &Replica| {
            let session = self.sessions.get(&replica.session);
            session.is_none_or(|session| session.status().is_over())
        };
        service.destroying && service.replicas.iter().all(is_over)
    }

    /// The replicas that answer.
    fn healthy<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Replica> {
        service.replicas.iter().filter(|replica| {
            let session = self.sessions.get(&replica.session);
            session.is_some_and(|session| session.status() == Status::Running)
        })
    }

    /// The replicas as GraphQL shows them.
    pub(super) fn routings(&self, service: &Service) -> Value {
        let shown = |replica: &Replica| {
            let session = self.sessions.get(&replica.session);
            let status = match session.map(Session::status) {
                Some(Status::Running) => "HEALTHY",
                Some(Status::Terminating) => "TERMINATING",
                Some(status) if status.is_over() => "TERMINATED",
                _ => "PROVISIONING",
            };
            json!({
                "routing_id": replica.route, "session": replica.session, "status": status,
                "traffic_ratio": 1.0,
            })
        };
        service.replicas.iter().map(shown).collect()
    }

    pub(super) fn healthy_count(&self, service: &Service) -> usize {
        self.healthy(service).count()
    }

    /// Its address, once a replica has answered.
    pub(super) fn service_address(&self, service: &Service) -> Option<String> {
        let address = format!("http://{}/apps/{}", service.host, service.id);
        self.healthy(service).next().map(|_| address)
    }

    fn create_service(&mut self, caller: &Caller, sent: &Sent, host: &str) -> Result<Id, Refusal> {
        let name = sent.text(&["name", "service_name"])?;
        if name.len() < 4 {
            return Err(schema("name", "String should have at least 4 characters"));
        }
        let wanted = sent
            .number(&["replicas", "desired_session_count"])
            .unwrap_or(1);
        within_policy(wanted)?;
        let config = Sent(sent.any(&["config"]).cloned().unwrap_or_default());
        let model = self
            .mountable(caller, config.text(&["model"])?)
            .map_err(|_| no_model())?
            .id
            .clone();
        let destination = config
            .maybe(&["model_mount_destination"])
            .unwrap_or("/models");
        let mut session = sent.0.clone();
        session["type"] = Kind::Inference.word().into();
        session["enqueueOnly"] = true.into();
        session["reuse"] = false.into();
        session["config"]["mount_ids"] = json!([model]);
        session["config"]["mount_id_map"] = json!({ &*model: destination });
        let project = sent
            .maybe(&["group", "group_name"])
            .unwrap_or(super::accounts::PROJECT);
        let service = Service {
            id: self.new_id(),
            name: name.to_owned(),
            owner: caller.clone(),
            project: self.accounts.joined(&caller.user, project)?.id.clone(),
            model,
            is_public: sent.flag(&["open_to_public"], false),
            wanted,
            destroying: false,
            created: self.now,
            runtime: sent
                .maybe(&["runtime_variant"])
                .unwrap_or("custom")
                .to_owned(),
            definition: config
                .maybe(&["model_definition_path"])
                .unwrap_or("model-definition.yaml")
                .to_owned(),
            session: Sent(session),
            replicas: Vec::new(),
            tokens: Vec::new(),
            host: host.to_owned(),
        };
        self.forget_services();
        let id = service.id.clone();
        self.note(Change::Made, "service", name, &id);
        self.services.insert(id.clone(), service);
        self.fit_replicas(&id)?;
        Ok(id)
    }

    fn forget_services(&mut self) {
        while self.services.len() >= KEPT {
            let destroyed = self
                .services
                .values()
                .filter(|found| self.is_destroyed(found));
            let Some(oldest) = destroyed.min_by_key(|found| found.created) else {
                break;
            };
            let oldest = oldest.id.clone();
            self.services.remove(&oldest);
        }
    }

    /// Starts or ends sessions until there are as many as are wanted.
    fn fit_replicas(&mut self, id: &Id) -> Result<(), Refusal> {
        loop {
            let Some(service) = self.services.get(id) else {
                return Ok(());
            };
            let wanted = if service.destroying {
                0
            } else {
                service.wanted
            };
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            let (caller, mut sent) = (service.owner.clone(), service.session.clone());
            if service.replicas.len() < wanted {
                let route = self.new_id();
                sent.0["name"] = format!("{}-{route}", service_name(&sent)).into();
                let (Created::New(session) | Created::Known(session)) =
                    self.create_session(&caller, &sent)?;
                if let Some(service) = self.services.get_mut(id) {
                    service.replicas.push(Replica { route, session });
                }
            } else {
                let surplus = self.services.get_mut(id).map(|service| {
                    service
                        .replicas
                        .split_off(wanted.min(service.replicas.len()))
                });
                let surplus = surplus.unwrap_or_default();
                for replica in &surplus {
                    self.terminate(&replica.session, "user-requested");
                }
                // A service that goes away is gone when they are.
                if let Some(service) = self
                    .services
                    .get_mut(id)
                    .filter(|service| service.destroying)
                {
                    service.replicas = surplus;
                }
                return Ok(());
            }
        }
    }

    fn described(&self, service: &Service) -> Value {
        let route = |replica: &Replica| {
            json!({
                "route_id": replica.route, "session_id": replica.session, "traffic_ratio": 1.0,
            })
        };
        json!({
            "endpoint_id": service.id,
            "model_id": service.model,
            "extra_mounts": [],
            "name": service.name,
            "replicas": service.wanted,
            "desired_session_count": service.wanted,
            "model_definition_path": service.definition,
            "active_routes": self.healthy(service).map(route).collect::<Value>(),
            "service_endpoint": self.service_address(service),
            "is_public": service.is_public,
            "runtime_variant": service.runtime,
        })
    }
}

fn service_name(sent: &Sent) -> &str {
    sent.maybe(&["name", "service_name"]).unwrap_or_default()
}

fn no_model() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "vfolder-not-found",
        "Virtual Folder Not Found",
        "vfolder_read_not-found",
    )
    .said("Cannot find model folder")
}

fn within_policy(replicas: u64) -> Result<(), Refusal> {
    if replicas <= MOST_REPLICAS {
        return Ok(());
    }
    let why = format!("Cannot spawn more than {MOST_REPLICAS} sessions for a single service");
    Err(schema("", "").said(why))
}

async fn create(Here(hall): Hallway, caller: Caller, headers: HeaderMap, sent: Sent) -> Answer {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok());
    let shown = hall.enter(|state| {
        let id = state.create_service(&caller, &sent, host.unwrap_or_default())?;
        let made = state.service(&caller, &id)?;
        Ok::<_, Refusal>(state.described(made))
    })?;
    Ok(told(StatusCode::CREATED, &shown))
}

async fn list(Here(hall): Hallway, caller: Caller) -> Response {
    let shown: Value = hall.look(|state| {
        let theirs = state
            .services
            .values()
            .filter(|found| found.owner.user == caller.user);
        theirs
            // Those that never came up are not told here.
            .filter(|found| !found.destroying && state.healthy_count(found) > 0)
            .map(|found| {
                json!({
                    "id": found.id,
                    "name": found.name,
                    "replicas": found.wanted,
                    "desired_session_count": found.wanted,
                    "active_route_count": state.healthy_count(found),
                    "service_endpoint": state.service_address(found),
                    "is_public": found.is_public,
                })
            })
            .collect()
    });
    told(StatusCode::OK, &shown)
}

async fn info(Here(hall): Hallway, Path(id): Path<String>, caller: Caller) -> Answer {
    let shown = hall.look(|state| {
        let found = state.service(&caller, &id)?;
        if state.is_destroyed(found) {
            return Err(no_service());
        }
        Ok(state.described(found))
    })?;
    Ok(told(StatusCode::OK, &shown))
}

async fn scale(Here(hall): Hallway, Path(id): Path<String>, caller: Caller, sent: Sent) -> Answer {
    let to = sent.number(&["to"]).ok_or_else(|| missing(&["to"]))?;
    let before = hall.enter(|state| {
        let found = state.service(&caller, &id)?;
        within_policy(to)?;
        let (id, before) = (found.id.clone(), state.healthy_count(found));
        if let Some(service) = state.services.get_mut(&id) {
            service.wanted = to;
        }
        state.fit_replicas(&id)?;
        Ok::<_, Refusal>(before)
    })?;
    let answer = json!({ "current_route_count": before, "target_count": to });
    Ok(told(StatusCode::OK, &answer))
}

async fn token(Here(hall): Hallway, Path(id): Path<String>, caller: Caller, sent: Sent) -> Answer {
    if sent.any(&["duration", "valid_until"]).is_none() {
        return Err(missing(&["duration"]));
    }
    let token = hall.enter(|state| {
        let id = state.service(&caller, &id)?.id.clone();
        let token = state.new_word(40);
        let service = state.services.get_mut(&id).ok_or_else(no_service)?;
        service.tokens.push(token.clone());
        Ok::<_, Refusal>(token)
    })?;
    Ok(told(StatusCode::OK, &json!({ "token": token })))
}

async fn sync(Here(hall): Hallway, Path(id): Path<String>, caller: Caller) -> Answer {
    hall.look(|state| state.service(&caller, &id).map(|_| ()))?;
    Ok(told(StatusCode::OK, &json!({ "success": true })))
}

async fn errors(Here(hall): Hallway, Path(id): Path<String>, caller: Caller) -> Answer {
    hall.look(|state| state.service(&caller, &id).map(|_| ()))?;
    Ok(told(StatusCode::OK, &json!({ "errors": [], "retries": 0 })))
}

/// The sessions end later; that it is done already is no error.
async fn remove(Here(hall): Hallway, Path(id): Path<String>, caller: Caller) -> Answer {
    hall.enter(|state| {
        let found = state.service(&caller, &id).map_err(|_| {
            let why = format!("Endpoint {} not found", dashed(&id));
            no_object("No such endpoint.", "deployment_read_not-found").said(why)
        })?;
        let (id, name, before) = (found.id.clone(), found.name.clone(), found.destroying);
        if let Some(service) = state.services.get_mut(&id) {
            service.destroying = true;
        }
        if !before {
            state.note(Change::Removed, "service", &name, &id);
            state.fit_replicas(&id)?;
        }
        Ok::<_, Refusal>(())
    })?;
    Ok(told(StatusCode::OK, &json!({ "success": true })))
}

async fn scaling_groups(_caller: Caller) -> Response {
    let groups = json!({ "scaling_groups": [{ "name": SCALING_GROUP }] });
    told(StatusCode::OK, &groups)
}

/// There is an app proxy.
async fn proxy_version(_caller: Caller, Path(name): Path<String>) -> Answer {
    if name != SCALING_GROUP {
        return Err(internal());
    }
    Ok(told(StatusCode::OK, &json!({ "wsproxy_version": "v2" })))
}

/// What a replica answers: to everybody if it is public, else to those with a token.
async fn health(Here(hall): Hallway, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let given = given.and_then(|text| {
        text.strip_prefix("Bearer ")
            .or_else(|| text.strip_prefix("BackendAI "))
    });
    let status = hall.look(|state| {
        let service = is_id(&id)
            .then(|| state.services.get(&dashed(&id)))
            .flatten();
        let service = service.filter(|service| !service.destroying)?;
        let is_let_in = service.is_public
            || given.is_some_and(|given| service.tokens.iter().any(|token| token == given));
        Some(match (is_let_in, state.healthy_count(service)) {
            (false, _) => StatusCode::UNAUTHORIZED,
            (true, 0) => StatusCode::SERVICE_UNAVAILABLE,
            (true, _) => StatusCode::OK,
        })
    });
    match status.unwrap_or(StatusCode::NOT_FOUND) {
        StatusCode::OK => told(StatusCode::OK, &json!({ "status": "healthy" })),
        other => other.into_response(),
    }
}
