//! What a run says when the cluster does something wrong, and how it keeps to the cluster's manners.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use testerd::backendai::KeyPair;
use testerd::client::{Client, Endpoint};
use testerd::event::RunRef;
use testerd::runner::orphans;
use testerd::secret::{Secret, SecretSource};
use testerd::spec::{Scheduled, Target};
use tokio::time::sleep;

use super::clock;
use super::cluster::{ACCESS_KEY, SECRET_KEY, Seen};
use super::site::{Site, Told};
use crate::rig::Fault;
use crate::unwind::{INSTANCE, World};

const INTERACTIVE: &str = "single_node_single_container_creation_interactive_session_success";
const COMMIT: &str = "single_node_single_container_commit_interactive_session_success";
const CREATE: &str = "POST /session";

/// A session, and these steps in it.
pub(super) fn in_session(keys: &str, steps: &str) -> String {
    format!("[[spec]]\nname = \"own\"\nlike = \"{INTERACTIVE}\"\n{keys}\n{STARTED}{steps}")
}

pub(super) const STARTED: &str = r#"
[[spec.steps]]
name = "started"
use = "backendai.await"
session = "${session.id}"
until = "running"
"#;

/// Runs a spec with a fault in every request of a kind; afterwards nothing may be left.
async fn with_fault(name: &str, kind: &str, fault: Fault) -> (Site, Told) {
    let site = Site::open().await;
    let spec = site.spec(name, "");
    site.cluster.fail(kind, fault);
    let told = site.run(&spec).await;
    site.cluster.heal();
    assert_eq!(site.sweep(&spec).await, [], "{fault:?}: {}", told.story);
    site.assert_clean().await;
    (site, told)
}

#[test]
fn what_the_manager_does_wrong_has_its_reason_and_the_request_its_id() {
    clock::run(async {
        for (fault, reason) in [
            (Fault::FailBeforeEffect(500), "status"),
            (Fault::FailAfterEffect(502), "status"),
            (Fault::FailBeforeEffect(401), "auth"),
            (Fault::FailBeforeEffect(403), "auth"),
            (Fault::FailBeforeEffect(429), "quota"),
            (Fault::Hang, "timeout"),
            (Fault::HangAfterEffect, "timeout"),
            (Fault::Reset, "protocol"),
            (Fault::Unreadable2xx, "protocol"),
            (Fault::FalseBody("{}"), "capture"),
        ] {
            let (site, told) = with_fault(INTERACTIVE, CREATE, fault).await;
            let ended = format!("fail {reason} in setup session");
            assert_eq!(told.ended(), ended, "{fault:?}: {}", told.story);
            let sent = site.cluster.seen(CREATE).pop().unwrap();
            let named = format!("(request {})", sent.id);
            assert!(told.message().ends_with(&named), "{}", told.message());
        }
    });
}

#[test]
fn a_refusal_for_a_limit_is_a_quota_whatever_its_status() {
    clock::run(async {
        let site = Site::open().await;
        let keys = "[spec.params]\ncluster_size = { default = 1000 }";
        let told = site.run(&site.spec("own", &in_session(keys, ""))).await;
        assert_eq!(told.ended(), "fail quota in setup session");
        assert!(
            told.message().contains("is answered 400"),
            "{}",
            told.message()
        );
        site.assert_clean().await;
    });
}

fn with_target(spec: &mut Arc<Scheduled>, target: Target) {
    Arc::get_mut(spec).unwrap().target = Arc::new(target);
}

#[test]
fn who_is_not_let_in_is_told_so() {
    clock::run(async {
        let site = Site::open().await;
        for (access_key, secret_key) in [(ACCESS_KEY, "wrong"), ("AKIANOBODY", SECRET_KEY)] {
            let mut spec = site.spec(INTERACTIVE, "");
            let literal = |text| SecretSource::Literal(Secret::new(text));
            let auth = Arc::new(KeyPair::new(literal(access_key), literal(secret_key)));
            let target = (*spec.target).clone();
            with_target(&mut spec, Target { auth, ..target });
            let told = site.run(&spec).await;
            assert_eq!(told.ended(), "fail auth in setup session");
            assert!(told.message().contains("401"), "{}", told.message());
            site.assert_clean().await;
        }
    });
}

#[test]
fn where_nobody_listens_nothing_passes() {
    clock::run(async {
        let site = Site::open().await;
        let mut spec = site.spec(INTERACTIVE, "");
        let endpoint = Endpoint::parse("http://127.0.0.1:1").unwrap();
        let target = (*spec.target).clone();
        with_target(&mut spec, Target { endpoint, ..target });
        let told = site.run(&spec).await;
        assert_eq!(told.ended(), "fail connect in setup session");
    });
}

/// A user of our own, and this asked as them.
fn as_guest(step: &str) -> String {
    format!(
        "[[spec]]\nname = \"own\"\n[[spec.wrap]]\nname = \"guest\"\nuse = \"backendai.user\"\n\
         [[spec.steps]]\nname = \"ask\"\nas = \"${{guest.keys}}\"\n{step}\n"
    )
}

#[test]
fn graphql_errors_are_no_answers() {
    clock::run(async {
        for (query, reason, said) in [
            (
                "query { user { nonsense } }",
                "assertion",
                "Cannot query field 'nonsense'",
            ),
            // Only for administrators.
            (
                "query { users { uuid } }",
                "auth",
                "Insufficient privileges",
            ),
            (
                "mutation { purge_group(gid: \\\"00000000-0000-4000-8000-000000000000\\\") { ok msg } }",
                "assertion",
                "no permission",
            ),
        ] {
            let site = Site::open().await;
            let step = format!(
                "use = \"backendai.graphql\"\nquery = \"{query}\"\nexpect = {{ matches = '\"ok\": ?true' }}"
            );
            let told = site.run(&site.spec("own", &as_guest(&step))).await;
            let ended = format!("fail {reason} in body ask");
            assert_eq!(told.ended(), ended, "{}", told.story);
            assert!(told.message().contains(said), "{}", told.message());
            site.assert_clean().await;
        }
    });
}

/// Searches tell a hundred at a time.
#[test]
fn leftovers_are_listed_to_the_last_page() {
    clock::run(async {
        let make = "mutation ($email: String!, $props: UserInput!) { \
                    create_user(email: $email, props: $props) { ok msg } }";
        for count in [99, 100, 101, 205] {
            let site = Site::open().await;
            for nth in 0..count {
                // Called as by a version before names had a check.
                let name = format!("{INSTANCE}-6gc8m3c01anan-{nth}");
                let props = json!({
                    "username": name, "password": "secret-Wa8!", "need_password_change": false,
                    "full_name": name, "description": "", "domain_name": "default",
                    "role": "user", "status": "active", "group_ids": [],
                });
                let email = format!("{name}@example.invalid");
                let answer = site
                    .cluster
                    .query(make, json!({ "email": email, "props": props }))
                    .await;
                assert_eq!(answer["create_user"]["ok"], true, "{answer}");
            }
            let spec = site.spec("own", &as_guest("use = \"http\"\npath = \"/folders\""));
            let [resource] = spec.case.resources()[..] else {
                panic!("one user");
            };
            let asked = || site.cluster.seen("query user_list").len();
            let before = asked();
            let listed = orphans(resource, &spec, INSTANCE, &Client::new()).await;
            assert_eq!(listed.unwrap().len(), count);
            assert_eq!(asked() - before, count / 100 + 1, "{count}");
        }
    });
}

#[test]
fn a_stream_that_is_cut_is_opened_again() {
    clock::run(async {
        for (name, stream) in [
            (INTERACTIVE, "GET /events/session"),
            (COMMIT, "GET /events/background-task"),
        ] {
            let site = Site::open().await;
            let spec = site.spec(name, "");
            let cut = async {
                site.cluster.comes(stream).await;
                sleep(Duration::from_millis(500)).await;
                site.cluster.cut(stream);
            };
            let (told, ()) = tokio::join!(site.run(&spec), cut);
            assert_eq!(told.ended(), "pass", "{}", told.story);
            let opened = site.cluster.seen(stream);
            assert!(opened.len() > 1, "{opened:?}");
            // Signed anew, each of them.
            let mut ids: Vec<_> = opened.iter().map(|seen| &seen.id).collect();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), opened.len(), "{opened:?}");
            site.assert_clean().await;
        }
    });
}

#[test]
fn without_a_stream_the_session_is_looked_at() {
    clock::run(async {
        for fault in [
            Fault::FailBeforeEffect(404),
            Fault::FailBeforeEffect(500),
            Fault::Reset,
            Fault::FalseBody("no event: stream"),
        ] {
            let (_, told) = with_fault(INTERACTIVE, "GET /events/session", fault).await;
            assert_eq!(told.ended(), "pass", "{fault:?}: {}", told.story);
        }
    });
}

#[test]
fn a_session_that_ends_is_not_waited_for() {
    clock::run(async {
        let site = Site::open().await;
        let spec = site.spec(INTERACTIVE, "");
        let end = async {
            site.cluster.comes("GET /events/session").await;
            for thing in site.left() {
                let path = format!("DELETE /session/{}", thing.id);
                site.cluster.ask(&path, json!({})).await;
            }
        };
        let (told, ()) = tokio::join!(site.run(&spec), end);
        assert_eq!(told.ended(), "fail assertion in body started");
        assert!(
            told.message().contains("user-requested"),
            "{}",
            told.message()
        );
        site.assert_clean().await;
    });
}

#[test]
fn a_conversation_that_is_cut_fails() {
    let steps = r#"
[[spec.steps]]
name = "talk"
use = "backendai.execute"
session = "${session.id}"
via = "websocket"
code = "import time; print('a'); time.sleep(5); print('b')"
"#;
    clock::run(async {
        let site = Site::open().await;
        let spec = site.spec("own", &in_session("", steps));
        let told = site.run(&spec).await;
        assert_eq!(told.ended(), "pass", "{}", told.story);
        let cut = async {
            site.cluster.comes("GET /stream/session").await;
            sleep(Duration::from_secs(1)).await;
            site.cluster.cut("GET /stream/session");
        };
        let (told, ()) = tokio::join!(site.run_nth(&spec, 2), cut);
        assert_eq!(told.ended(), "fail protocol in body talk", "{}", told.story);
        site.assert_clean().await;
    });
}

#[test]
fn a_step_as_somebody_else_is_signed_by_them() {
    clock::run(async {
        let site = Site::open().await;
        let told = site.run(&site.spec("invite_vfolder_success", "")).await;
        assert_eq!(told.ended(), "pass", "{}", told.story);
        let accepted = site.cluster.seen("POST /folders/invitations/accept");
        let guest = &accepted[0].access_key;
        assert!(guest.starts_with("AKIA") && guest != ACCESS_KEY, "{guest}");
        let as_guest: Vec<_> = site
            .cluster
            .seen("")
            .into_iter()
            .filter(|seen| seen.access_key == *guest)
            .map(|seen| seen.kind)
            .collect();
        assert_eq!(
            as_guest,
            [
                "GET /folders/{id}",
                "GET /folders/invitations/list",
                "POST /folders/invitations/accept",
                "GET /folders/{id}",
            ]
        );
        site.assert_clean().await;
    });
}

#[test]
fn every_request_of_a_run_has_an_id_and_its_trace() {
    clock::run(async {
        let site = Site::open().await;
        let spec = site.spec("clone_vfolder", "");
        site.run_nth(&spec, 7).await;
        let run = RunRef {
            spec: spec.info.clone(),
            id: Site::id(7).into(),
        };
        let seen = site.cluster.seen("");
        // The version is asked before anybody can sign anything.
        let signed = |seen: &&Seen| seen.kind != "GET /" && !seen.kind.contains("/storage/");
        for seen in seen.iter().filter(signed) {
            assert!(!seen.id.is_empty(), "{seen:?}");
            assert_eq!(seen.trace, run.trace_id(), "{seen:?}");
        }
        // Whoever gives out a token for the storage is not the storage.
        let mut stored = site.cluster.seen("PATCH /storage");
        stored.extend(site.cluster.seen("GET /storage"));
        assert!(stored.len() > 1 && stored.iter().all(|seen| seen.access_key.is_empty()));
    });
}

#[test]
fn the_version_is_asked_once_for_many_runs() {
    clock::run(async {
        let site = Site::open().await;
        let spec = site.spec("list_files", "");
        for nth in 0..5 {
            let told = site.run_nth(&spec, nth).await;
            assert_eq!(told.ended(), "pass", "{}", told.story);
        }
        let asked = site.cluster.seen("GET /");
        let asked = asked.iter().filter(|seen| seen.kind == "GET /");
        assert_eq!(asked.count(), 1);
        // A manager may have been upgraded meanwhile.
        sleep(Duration::from_secs(601)).await;
        site.run_nth(&spec, 6).await;
        let asked = site.cluster.seen("GET /");
        assert_eq!(asked.iter().filter(|seen| seen.kind == "GET /").count(), 2);
    });
}

#[test]
fn a_used_up_limit_of_requests_is_left_alone_for_a_while() {
    clock::run(async {
        let site = Site::open().await;
        let spec = site.spec("list_files", "");
        site.cluster
            .fail_once("query groups_by_name", 0, Fault::FailBeforeEffect(429));
        let told = site.run_nth(&spec, 0).await;
        assert_eq!(told.ended(), "fail quota in body project", "{}", told.story);
        let before = site.cluster.seen("").len();
        let told = site.run_nth(&spec, 1).await;
        assert_eq!(told.ended(), "fail quota in body project", "{}", told.story);
        assert_eq!(site.cluster.seen("").len(), before, "nothing was sent");
        sleep(Duration::from_secs(61)).await;
        let told = site.run_nth(&spec, 2).await;
        assert_eq!(told.ended(), "pass", "{}", told.story);
        site.assert_clean().await;
    });
}

#[test]
fn the_keys_of_a_user_that_was_made_are_told_nowhere() {
    // The answer shows the keys, and is not what was expected.
    let step = "use = \"backendai.graphql\"\nexpect = { text = \"@\" }\n\
                query = \"query { keypair { access_key secret_key } }\"";
    clock::run(async {
        let folder = crate::tools::fast_folder();
        let site = Site::open().await.on_disk(folder.path());
        let spec = site.spec("own", &as_guest(step));
        let keys = async {
            site.cluster.comes("query keypair").await;
            let query = "query { keypairs { secret_key } }";
            site.cluster.query(query, json!({})).await
        };
        let (told, keys) = tokio::join!(site.run(&spec), keys);
        assert_eq!(told.ended(), "fail assertion in body ask", "{}", told.story);
        assert!(told.message().contains("[secret]"), "{}", told.message());
        let key = |key: &Value| key["secret_key"].as_str().unwrap().to_owned();
        let keys: Vec<_> = keys["keypairs"]
            .as_array()
            .unwrap()
            .iter()
            .map(key)
            .collect();
        assert_eq!(keys.len(), 2, "the operator's and the guest's");
        let mut everything = format!("{:?}\n{}", told.events, told.story).into_bytes();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            everything.extend(std::fs::read(file.unwrap().path()).unwrap());
        }
        for key in keys {
            let found = everything
                .windows(12)
                .any(|part| part == &key.as_bytes()[..12]);
            assert!(!found, "a secret key was told");
        }
        site.assert_clean().await;
    });
}
